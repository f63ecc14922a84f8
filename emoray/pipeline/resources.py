"""Resources: environment variables of Ray's processes, which libraries and glibc read at load time."""

from __future__ import annotations

LIBRARIES = {"ORT_DISABLE_TELEMETRY": "1", "DEEPFACE_BACKEND_ENGINE": "onnx"}
"""Of every process: no telemetry, and the engine we verify weights for."""
PASSING_ON = {"MALLOC_MMAP_THRESHOLD_": "131072"}
"""Of those that pass bodies on, Serve's proxy and who answers: glibc gives back what is larger as soon as it
is free. By default that limit rises to the largest body that was ever freed, and the next ones are kept."""
WORKING = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "67108864"}
"""Of those that need the same arrays again and again, where others pass on: what the limits can rise to.
By 128 KB a composer would ask the kernel for its pages anew in every step."""
