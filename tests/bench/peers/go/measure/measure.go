// Package measure is what the drivers of the peers in Go share: so many goroutines for so long, and one
// line of JSON.
package measure

import (
	"fmt"
	"log"
	"sort"
	"sync"
	"time"
)

// Body is about 120 bytes, as everybody's.
var Body = []byte(`{"user":4711,"name":"somebody","text":"a body of about 120 bytes, as usual"}`)

// Run calls each in inFlight goroutines for that long.
func Run(seconds float64, inFlight, jobsOfOne int, each func() error) {
	var wg sync.WaitGroup
	var lock sync.Mutex
	var times []float64
	begin := time.Now()
	until := begin.Add(time.Duration(seconds * 1e9))
	for i := 0; i < inFlight; i++ {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var own []float64
			for time.Now().Before(until) {
				from := time.Now()
				if err := each(); err != nil {
					log.Fatal(err)
				}
				own = append(own, float64(time.Since(from).Microseconds())/1000)
			}
			lock.Lock()
			times = append(times, own...)
			lock.Unlock()
		}()
	}
	wg.Wait()
	took := time.Since(begin).Seconds()
	sort.Float64s(times)
	fmt.Printf("{\"rate\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f}\n",
		float64(len(times)*jobsOfOne)/took, times[len(times)/2], times[len(times)*99/100])
}
