# A results list is removed as soon as it is read.
set(source broker/results.c)
set(from "    runner_submit(r->core->seams.runner, &r->apply.op);")
set(to "    runner_submit(r->core->seams.runner, &r->apply.op);
    r->taken += is_last;
    send_remove(r);
    r->taken -= is_last;")
