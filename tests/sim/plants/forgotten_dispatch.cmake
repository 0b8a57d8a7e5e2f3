# A job that is committed as dispatched, and whose push Redis refused or never saw, counts as out.
set(source broker/dispatch_push.c)
set(from "        dispatch_pause_until(d, &d->refused_until_ms);
        settle_push(p, false);")
set(to "        dispatch_pause_until(d, &d->refused_until_ms);
        settle_push(p, true);")
