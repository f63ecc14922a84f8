"""A folder of MIDI to a corpus; options as of `emoray ingest`.

`ray job submit --working-dir . -- python jobs/ingest.py ...`
"""

from emoray.cli import main

if __name__ == "__main__":
    main("ingest")
