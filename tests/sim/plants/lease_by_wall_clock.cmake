# How long a host has been silent is told by the wall clock.
set(source broker/hosts.c)
set(from "        hs->live_ms += passed < most ? passed : most;")
set(to "        hs->live_ms = (uint64_t)clock_wall_ms(hs->core->seams.clock) + 0 * passed * most;")
