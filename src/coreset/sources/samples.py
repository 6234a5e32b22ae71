"""Members of a tar -> samples: which member belongs to which, and what makes a sample complete.

The rules, webdataset's wherever it has one:

- A member's key is its path up to the first dot of its base name; what follows is its ending. A base name
  that begins with a dot has no key (macOS scatters such files) and is passed over, like `__meta__` folders.
- The last part of the ending, in any case, says what the member is: a picture, a caption (`txt`), metadata
  (`json`) or nothing of ours. The last kind is never read, only counted; a sample of nothing else is no
  sample.
- A sample is a run of adjacent members with one key.
- A json whose `key`, written as an export writes names (`coreset.sources.names`), is the sample's name, says
  the sample's key: so an export is read back with the keys that its rows had.
- A key that comes back later: the first run stands as it was judged, complete or not; each later run is
  refused, as `duplicate_key` if it has a picture, else as `split_sample`. Keys are known by a 64-bit hash:
  some 80 bytes each.
- One member too many (two pictures, two captions, one name twice) refuses the sample: nobody knows which
  was meant.
"""

from __future__ import annotations

import re
from collections import Counter

from xxhash import xxh3_64_intdigest

from coreset.sources.metadata import BadSampleError, Metadata, read_caption, read_metadata
from coreset.sources.names import name_of
from coreset.sources.pairs import Limits, Pair, Reject
from coreset.sources.tar_members import FILE, Member, TarMembers

IMAGE, CAPTION, METADATA = "image", "caption", "metadata"
_ROLES = {
    **dict.fromkeys((b"jpg", b"jpeg", b"png", b"webp", b"gif", b"bmp"), IMAGE),
    b"txt": CAPTION,
    b"json": METADATA,
}
_META = re.compile(rb"__[^/]*__(/|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MOST_ENDINGS = 100
_SEVERAL = {IMAGE: "several_images", CAPTION: "several_captions", METADATA: "several_jsons"}
_NOT_A_FILE = {IMAGE: "no_image", CAPTION: "no_caption", METADATA: "bad_json"}
_TOO_LARGE = {IMAGE: "member_too_large", CAPTION: "caption_too_long", METADATA: "member_too_large"}


def split_name(name: bytes) -> tuple[bytes, bytes] | None:
    """The key and the ending of a member's name, None if it has no key.

    Example:
        >>> split_name(b"cats/007.left.JPG"), split_name(b"cats.v1/007"), split_name(b"cats/._007.jpg")
        ((b'cats/007', b'left.JPG'), None, None)
    """
    base = name.rfind(b"/") + 1
    dot = name.find(b".", base)
    if dot <= base or (name.startswith(b"__") and _META.match(name)):
        return None
    return name[:dot], name[dot + 1 :]


def role_of(ending: bytes) -> str | None:
    """What a member with this ending is for, None if it is nothing of ours.

    Example:
        >>> role_of(b"JPG"), role_of(b"left.txt"), role_of(b"pkl")
        ('image', 'caption', None)
    """
    return _ROLES.get(ending) or _ROLES.get(ending.rpartition(b".")[2].lower())


class OpenSample:
    """The members of one sample as they come by.

    Attributes:
        key: Of all its members.
        has_image: Whether a picture came by, good or bad.
    """

    __slots__ = ("_endings", "_fault", "_image_offset", "_parts", "has_image", "key")

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.has_image = False
        self._endings: list[bytes] = []
        self._parts: dict[str, bytes] = {}
        self._fault: tuple[str, str] | None = None
        self._image_offset = 0

    def add(self, member: Member, ending: bytes, members: TarMembers, limits: Limits) -> bool:
        """Take in one member, reading it if it is of use; returns False if it is nothing of ours."""
        role = role_of(ending)
        if role is None:
            return False
        self.has_image = self.has_image or role == IMAGE
        if self._fault is None:  # what comes behind a fault is neither read nor kept
            ending = ending.lower()
            self._fault = self._why_not(role, member, ending, limits)
            self._endings.append(ending)
        if self._fault is None:
            if role == IMAGE:
                self._image_offset = member.offset
            self._parts[role] = members.content()
        return True

    @property
    def is_sample(self) -> bool:
        """Whether any member was of ours."""
        return bool(self._endings)

    def pair(self, row: int, limits: Limits, compressed: bool) -> Pair:
        """The pair that the members make; raises `BadSampleError` if they make none."""
        key = checked_key(self.key, limits.key)
        if self._fault:
            raise BadSampleError(*self._fault)
        image = self._parts.get(IMAGE)
        if image is None:
            raise BadSampleError("no_image", f"no picture among {_shown(b' '.join(self._endings))}")
        if not image:
            raise BadSampleError("empty_image", "the picture has no bytes")
        content = self._parts.get(METADATA)
        metadata = Metadata() if content is None else read_metadata(content)
        key = original_key(key, metadata.key)
        caption = self._caption(metadata, limits)
        offset = None if compressed else self._image_offset
        url, width, height, hashes = metadata.url, metadata.width, metadata.height, metadata.hashes
        size, hashed = len(image), xxh3_64_intdigest(image)
        return Pair(key, row, image, offset, size, hashed, caption, url, width, height, hashes)

    def _caption(self, metadata: Metadata, limits: Limits) -> str | None:
        try:
            return read_caption(self._parts.get(CAPTION), metadata, limits.caption)
        except BadSampleError as error:
            if error.reason == "no_caption" and limits.allow_missing_caption:
                return None
            raise

    def _why_not(self, role: str, member: Member, ending: bytes, limits: Limits) -> tuple[str, str] | None:
        if ending in self._endings:
            return "duplicate_member", f"{_shown(member.name)} is there twice"
        if member.what != FILE:
            return _NOT_A_FILE[role], f"{_shown(member.name)} is a {member.what}"
        if role in self._parts:
            return _SEVERAL[role], f"{_shown(member.name)} is one {role} too many"
        limit = {IMAGE: limits.member, CAPTION: limits.caption, METADATA: limits.metadata}[role]
        if member.size > limit:
            return _TOO_LARGE[role], f"{_shown(member.name)} has {member.size} bytes, more than {limit}"
        return None


class Judge:
    """Turns runs of members that are over into pairs and rejects, and counts what it saw.

    Attributes:
        seen: How many samples came by, good and bad: the row of the next one.
        ignored: Members that were not of ours, by ending.
    """

    def __init__(self, limits: Limits, compressed: bool) -> None:
        self.seen = 0
        self.ignored: Counter[str] = Counter()
        self._limits = limits
        self._compressed = compressed
        self._keys: set[int] = set()

    @property
    def keys(self) -> int:
        """How many different keys came by."""
        return len(self._keys)

    def judge(self, sample: OpenSample) -> Pair | Reject:
        """What the members of a sample make, now that the next one has begun."""
        row, repeated = self._count(sample)
        try:
            if repeated:
                reason = "duplicate_key" if sample.has_image else "split_sample"
                raise BadSampleError(reason, "members with this key came before, with others between")
            return sample.pair(row, self._limits, self._compressed)
        except BadSampleError as error:
            return Reject(key_text(sample.key), row, error.reason, error.detail, 1)

    def unfinished(self, sample: OpenSample) -> Reject:
        """The sample during which the tar broke off: what else it had is unknown, so it is never a pair."""
        row, _ = self._count(sample)
        detail = "the tar breaks off within this sample or right behind it"
        return Reject(key_text(sample.key), row, "unfinished_sample", detail, 1)

    def ignore(self, member: Member) -> None:
        """Count a member that is not of ours; folders are no loss."""
        if member.what != "folder":
            ending = member.name.rpartition(b"/")[2].rpartition(b".")[2].lower()
            shown = _shown(ending)
            known = shown in self.ignored or len(self.ignored) < _MOST_ENDINGS
            self.ignored[shown if known else "others"] += 1

    def _count(self, sample: OpenSample) -> tuple[int, bool]:
        row = self.seen
        self.seen += 1
        known = len(self._keys)
        self._keys.add(xxh3_64_intdigest(sample.key))
        return row, len(self._keys) == known


def checked_key(key: bytes, longest: int) -> str:
    """A key as text; raises `BadSampleError` if it is too long, not UTF-8, or has control characters."""
    if len(key) > longest:
        raise BadSampleError("bad_key", f"the key has {len(key)} bytes, more than {longest}")
    try:
        text = key.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadSampleError("bad_key", f"the key is not UTF-8: {_shown(key)}") from error
    if _CONTROL.search(text):
        raise BadSampleError("bad_key", f"the key has control characters: {_shown(key)}")
    return text


def original_key(name: str, said: str | None) -> str:
    """The key of a sample whose json says one: that one, if the sample has the name that an export gives to it.

    An export writes keys so that they may be names (`coreset.sources.names`); this is how they come back.

    Example:
        >>> original_key("cats~2F7", "cats/7"), original_key("cats~2F7", "7"), original_key("7", "7")
        ('cats/7', 'cats~2F7', '7')
    """
    is_told = said is not None and said != name and not _CONTROL.search(said) and name_of(said) == name
    return said if said is not None and is_told else name


def key_text(key: bytes) -> str:
    """A key for people, whatever bytes it has."""
    return key.decode("utf-8", "backslashreplace")[:255]


def _shown(name: bytes) -> str:
    """A name for people, safe on a terminal, and not too long for one."""
    shown = repr(name.decode("utf-8", "backslashreplace"))
    return shown if len(shown) <= 120 else f"{shown[:100]}... ({len(name)} bytes)"
