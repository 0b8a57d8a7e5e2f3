// river POSTGRES_URL submit SECONDS IN_FLIGHT | bulk SECONDS | end SECONDS IN_FLIGHT
// Its events of completion reach only the process that works, so client and worker are one here.
package main

import (
	"context"
	"log"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"jobmill/peers/measure"
)

// Noop is the job.
type Noop struct {
	User int    `json:"user"`
	Name string `json:"name"`
	Text string `json:"text"`
}

// Kind is its name.
func (Noop) Kind() string { return "noop" }

type noopWorker struct{ river.WorkerDefaults[Noop] }

func (*noopWorker) Work(context.Context, *river.Job[Noop]) error { return nil }

var body = Noop{4711, "somebody", "a body of about 120 bytes, as usual"}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func open(ctx context.Context, works bool) *river.Client[pgx.Tx] {
	pool := must(pgxpool.New(ctx, os.Args[1]+"&pool_max_conns=32"))
	driver := riverpgxv5.New(pool)
	migrator := must(rivermigrate.New(driver, nil))
	must(migrator.Migrate(ctx, rivermigrate.DirectionUp, nil))
	workers := river.NewWorkers()
	river.AddWorker(workers, &noopWorker{})
	config := &river.Config{Workers: workers}
	if works {
		config.Queues = map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 200}}
		config.FetchCooldown = time.Millisecond
	}
	return must(river.NewClient(driver, config))
}

func runEnd(ctx context.Context, seconds float64, inFlight int) {
	client := open(ctx, true)
	events, stop := client.SubscribeConfig(&river.SubscribeConfig{
		Kinds: []river.EventKind{river.EventKindJobCompleted}, ChanSize: 100000})
	defer stop()
	if err := client.Start(ctx); err != nil {
		log.Fatal(err)
	}
	var waiting sync.Map
	go func() {
		for event := range events {
			done, _ := waiting.LoadOrStore(event.Job.ID, make(chan struct{}))
			close(done.(chan struct{}))
		}
	}()
	measure.Run(seconds, inFlight, 1, func() error {
		row, err := client.Insert(ctx, body, nil)
		if err != nil {
			return err
		}
		done, _ := waiting.LoadOrStore(row.Job.ID, make(chan struct{}))
		<-done.(chan struct{})
		waiting.Delete(row.Job.ID)
		return nil
	})
}

func main() {
	ctx := context.Background()
	seconds, _ := strconv.ParseFloat(os.Args[3], 64)
	inFlight := 1
	if len(os.Args) > 4 {
		inFlight, _ = strconv.Atoi(os.Args[4])
	}
	parked := &river.InsertOpts{Queue: "parked"}
	switch os.Args[2] {
	case "end":
		runEnd(ctx, seconds, inFlight)
	case "bulk":
		client := open(ctx, false)
		many := make([]river.InsertManyParams, 1000)
		for i := range many {
			many[i] = river.InsertManyParams{Args: body, InsertOpts: parked}
		}
		measure.Run(seconds, 2, 1000, func() error {
			_, err := client.InsertManyFast(ctx, many)
			return err
		})
	default:
		client := open(ctx, false)
		measure.Run(seconds, inFlight, 1, func() error {
			_, err := client.Insert(ctx, body, parked)
			return err
		})
	}
}
