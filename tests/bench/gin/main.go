// What Gin is asked for; see web.py. usage: gin PORT
package main

import (
	"net/http"
	"os"
	"strconv"

	"github.com/gin-gonic/gin"
)

func fib(n uint64) uint64 {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

func main() {
	router := gin.New()
	router.GET("/ping", func(c *gin.Context) { c.String(http.StatusOK, "pong\n") })
	router.GET("/fib/:n", func(c *gin.Context) {
		n, err := strconv.ParseUint(c.Param("n"), 10, 8)
		if err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		c.JSON(http.StatusOK, gin.H{"result": fib(n)})
	})
	if err := router.Run("127.0.0.1:" + os.Args[1]); err != nil {
		os.Exit(1)
	}
}
