"""Meterhouse: land Polar's event JSON into DuckDB, model it with dbt, publish what usage and money say.

The rooms, and the one direction in which they know each other:

    cli -> transform, publish, report, simulate, landing -> sources, records, warehouse

`records` is pure: it knows no database. `warehouse` is the only module that opens DuckDB.
"""

import os
from importlib.metadata import version

# Numpy starts threads for an algebra that nothing here uses, and they spin for a tenth of a second.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = version("meterhouse")

__all__ = ["__version__"]
