"""The program of a process that decodes pictures: it holds Pillow and nothing else.

It decodes one picture after the other: it reads ``length, max_pixels, length of how, draft``, how pictures are fitted
to a model, and the bytes from its standard input, and writes ``status, width, height, length`` and either the pixels or
the reason to its standard output. It ends when its input does.
"""

from __future__ import annotations

import json
import struct
from typing import IO

from coreset.sources.fitting import fit_from_json
from coreset.sources.pictures import BadPictureError, decoded

QUESTION = struct.Struct("<QQQ?")
ANSWER = struct.Struct("<?QQQ")


def serve(questions: IO[bytes], answers: IO[bytes]) -> None:
    """Decode what comes until no more does."""
    while len(header := questions.read(QUESTION.size)) == QUESTION.size:
        length, max_pixels, how, draft = QUESTION.unpack(header)
        fit = questions.read(how)
        content = questions.read(length)
        if len(content) < length:
            return
        try:
            image = decoded(content, max_pixels, fit_from_json(fit) if fit else None, draft)
        except BadPictureError as error:
            said = json.dumps([error.reason, error.detail]).encode()
            answers.write(ANSWER.pack(False, 0, 0, len(said)))
            answers.write(said)
        else:
            pixels = image.tobytes()
            answers.write(ANSWER.pack(True, image.width, image.height, len(pixels)))
            answers.write(pixels)
        answers.flush()
