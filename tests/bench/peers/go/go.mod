module jobmill/peers

go 1.21

require (
	github.com/hibiken/asynq v0.26.0
	github.com/jackc/pgx/v5 v5.7.5
	github.com/riverqueue/river v0.51.2
	github.com/riverqueue/river/riverdriver/riverpgxv5 v0.51.2
)
