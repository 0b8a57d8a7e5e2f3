# The limit of jobs of a queue that are out at once does not count.
set(source broker/dispatch.c)
set(from "        room = left_of(conf->concurrency, q->window.used + q->taking_jobs);")
set(to "        room = left_of(conf->concurrency + 3, q->window.used + q->taking_jobs);")
