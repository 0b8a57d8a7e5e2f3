// asynq REDIS_SOCKET worker | submit SECONDS IN_FLIGHT
// asynq has no way to wait for a result, and no bulk enqueue.
package main

import (
	"context"
	"log"
	"os"
	"strconv"

	"github.com/hibiken/asynq"

	"jobmill/peers/measure"
)

func main() {
	redis := asynq.RedisClientOpt{Network: "unix", Addr: os.Args[1], PoolSize: 64}
	if os.Args[2] == "worker" {
		server := asynq.NewServer(redis, asynq.Config{Concurrency: 100, LogLevel: asynq.FatalLevel,
			Queues: map[string]int{"jobs": 1}})
		mux := asynq.NewServeMux()
		mux.HandleFunc("noop", func(context.Context, *asynq.Task) error { return nil })
		log.Fatal(server.Run(mux))
	}
	seconds, _ := strconv.ParseFloat(os.Args[3], 64)
	inFlight, _ := strconv.Atoi(os.Args[4])
	client := asynq.NewClient(redis)
	measure.Run(seconds, inFlight, 1, func() error {
		_, err := client.Enqueue(asynq.NewTask("noop", measure.Body), asynq.Queue("parked"))
		return err
	})
}
