"""When a request is sent again, and after which pause."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Optional

# What a broker, or a proxy before it, answers when the same request may go a moment later. The codes
# below say that nothing was done; 502 and 504 say nothing of the kind.
LATER = {429, 503}
GATEWAY = {502, 504}


@dataclass(frozen=True)
class Retry:
    """retries     how often a request is repeated at most; 0: never
    base_s      the pause before the first repeat; it doubles with each one
    ceiling_s   the longest pause of our own
    jitter      0…1: that part of a pause is random, so that clients do not come in step
    patience_s  the longest Retry-After that is obeyed; beyond it the refusal is raised at once
    """

    retries: int = 8
    base_s: float = 0.1
    ceiling_s: float = 2.0
    jitter: float = 0.5
    patience_s: float = 30.0

    def pause_s(self, repeat: int, retry_after_s: Optional[float] = None) -> Optional[float]:
        """The pause before repeat number `repeat` (the first is 0), or None: give up. Never shorter
        than what the broker has asked for."""
        if repeat >= self.retries:
            return None
        if retry_after_s is not None and retry_after_s > self.patience_s:
            return None
        whole = min(self.ceiling_s, self.base_s * 2.0 ** min(repeat, 60))
        own = whole * (1 - self.jitter * random.random())
        return own if retry_after_s is None else retry_after_s + own * self.jitter


def parse_retry_after(text: Optional[str]) -> Optional[float]:
    """The seconds that a Retry-After field means, a number or a date; None for anything else."""
    if text is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", text):
        return float(text)
    try:
        date = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=timezone.utc)
    return max(0.0, (date - datetime.now(timezone.utc)).total_seconds())
