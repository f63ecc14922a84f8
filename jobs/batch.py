"""A manifest to music and a ledger; options as of `emoray batch`.

`ray job submit --working-dir . -- python jobs/batch.py ...`
"""

from emoray.cli import main

if __name__ == "__main__":
    main("batch")
