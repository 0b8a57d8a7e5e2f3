# More go out than the window has places, though they are not urgent.
set(source broker/window.c)
set(from "    return limit > w->used ? limit - w->used : 0;")
set(to "    return limit + 3 > w->used ? limit + 3 - w->used : 0;")
