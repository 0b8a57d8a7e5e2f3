# An end is applied whatever attempt it belongs to.
set(source broker/verdict.c)
set(from "    if (attempt == job->attempt)
        return true;")
set(to "    if (attempt > 0)
        return true;")
