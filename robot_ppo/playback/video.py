"""An h264 file, frame by frame.

with Video(Path("out.mp4"), 25, 1280, 720) as video:
video.add(pixels)
"""

import os
import tempfile
from pathlib import Path
from types import TracebackType

import av
import numpy as np

from robot_ppo_export.errors import InputError

CRF = 22
"""Quality of x264, lower is better: 12 s stay well below 6 MB."""


class Video:
    """An h264 mp4 that gets its name only when it is complete; use it in a `with` block.

    Without a single frame there is no file.
    """

    def __init__(
        self, path: Path, fps: int, width: int, height: int, crf: int | None = None
    ) -> None:
        """Open a temporary file beside `path`, or raise `InputError`.

        Args:
            path: of the file.
            fps: frames per second.
            width: [pixels]
            height: [pixels]
            crf: quality of x264, lower is better; `CRF` by default.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        self._whole = Path(self._folder.name) / "video.mp4"
        self._file = av.open(str(self._whole), "w", options={"movflags": "+faststart"})
        stream = self._file.add_stream("libx264", rate=fps)
        assert isinstance(stream, av.VideoStream)
        stream.width = width
        stream.height = height
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(crf or CRF), "preset": "superfast"}
        self._stream = stream
        self._frames = 0

    def add(self, picture: np.ndarray) -> None:
        """Append one frame (height, width, 3) uint8."""
        self._encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))

    def add_planes(self, planes: bytes) -> None:
        """Append one frame that is already yuv420p, its three planes one after the other."""
        rows = self._stream.height * 3 // 2
        picture = np.frombuffer(planes, np.uint8).reshape(rows, self._stream.width)
        self._encode(av.VideoFrame.from_ndarray(picture, format="yuv420p"))

    def _encode(self, frame: av.VideoFrame) -> None:
        self._frames += 1
        self._file.mux(self._stream.encode(frame))

    def __enter__(self) -> "Video":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file and give it its name; after an error, leave nothing behind."""
        whole = kind is None and self._frames > 0
        try:
            if whole:
                self._file.mux(self._stream.encode())
            self._file.close()
            if whole:
                os.replace(self._whole, self.path)
        except OSError as failure:
            raise InputError(f"{self.path}: cannot be written ({failure.strerror})") from None
        finally:
            self._folder.cleanup()
