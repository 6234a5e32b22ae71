"""Every error that a user of coreset can meet, and the exit code each one becomes.

```
CoresetError                 1   (base; also what stays when nothing below fits)
├── InvariantError           1   counts that must add up do not: a bug, please report it
├── TaskFailedError          1   one task failed again and again; run the same command to resume
├── UsageError               2   a malformed value
├── InputError               3   a value or a file that is impossible for this input
│   ├── MissingFileError     3   a committed file of a run is gone
│   └── UnwritableError      3   a place that may not be written to
├── TooManyBadError          4   everything ran, but more was quarantined than allowed
├── ResourceError            5   out of disk, or of the memory budget
├── InUseError               6   another writer holds the run directory
└── MismatchError            7   parameters differ from what is on disk
```

The message is one sentence: the value, the limit, and what to type next.
"""


class CoresetError(Exception):
    """What went wrong, in one sentence; `exit_code` is what the command line returns."""

    exit_code = 1


class InvariantError(CoresetError):
    """Counts that must add up do not."""


class TaskFailedError(CoresetError):
    """A task failed again and again."""


class UsageError(CoresetError):
    """A malformed value, such as a threshold of 86."""

    exit_code = 2


class InputError(CoresetError):
    """A value or a file that is impossible for this input, such as an empty tar."""

    exit_code = 3


class MissingFileError(InputError):
    """A committed file of a run is not there any more; the command that made it makes it again."""


class UnwritableError(InputError):
    """A place that may not be written to; the sentence ends, behind its last semicolon, with what to do about it."""


class TooManyBadError(CoresetError):
    """All stages ran, but more was quarantined than `--max-bad` allows."""

    exit_code = 4


class ResourceError(CoresetError):
    """Out of disk, or of the memory budget."""

    exit_code = 5


class InUseError(CoresetError):
    """Another writer holds the run directory."""

    exit_code = 6


class MismatchError(CoresetError):
    """Parameters differ from those of what is on disk."""

    exit_code = 7
