"""Meterhouse: land Polar's event JSON into DuckDB, model it with dbt, publish what usage and money say.

The rooms, and the one direction in which they know each other:

    cli -> transform, publish, report, simulate, landing -> sources, records, warehouse

`records` is pure: it knows no database. `warehouse` is the only module that opens DuckDB.
"""

from importlib.metadata import version

__version__ = version("meterhouse")

__all__ = ["__version__"]
