"""A corpus to emotion clusters; options as of `emoray cluster`.

`ray job submit --working-dir . -- python jobs/cluster.py ...`
"""

from emoray.cli import main

if __name__ == "__main__":
    main("cluster")
