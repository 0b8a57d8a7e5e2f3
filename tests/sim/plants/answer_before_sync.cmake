# A submit is answered once it is committed.
set(source broker/core.c)
set(from ".wants_sync = !s->is_told_later,")
set(to ".wants_sync = false,")
