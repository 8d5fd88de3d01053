"""Writing a DuckDB file by a process that sees nothing else, so that no byte of anything else gets into it.

DuckDB writes whole blocks, and where it does not fill one, up to kilobytes stay as the process's memory had them: a
file written by a process that has read prompts, or an erased person, holds pieces of them now and then (seen with
DuckDB 2.0 and text columns, compressed or not: one in a dozen published files). Therefore what others read, and what
must have forgotten somebody, is written by a process of its own that is sent what the file is to hold.

This module is also that process's program. It is run by its path and uses no other module of ours: it starts fast.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import duckdb
import pyarrow as pa

# Rows sent at a time.
_BATCH_ROWS = 50_000
# What rows arrive as, in the statement that takes them.
INCOMING = "incoming"

Rows = list[tuple[Any, ...]]


class WriterError(Exception):
    """The writing process could not do what it was sent, or ended; what it wrote is not to be used."""


class FileWriter:
    """A DuckDB without a file of its own in another process; the first statement is to attach the file to write.

    Statements and rows go there, in one transaction or several as the statements say. After an error nothing more can
    be sent. Leaving the block ends the process; what was not committed is gone.
    """

    def __enter__(self) -> Self:
        # Without -P a folder `duckdb` in the working directory, or beside this file, would be imported.
        command = [sys.executable, "-P", str(Path(__file__).resolve())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._process.kill()
        self._process.communicate()

    @property
    def pid(self) -> int:
        return self._process.pid

    def execute(self, sql: str, parameters: list[Any] | dict[str, Any] | None = None) -> Rows:
        """Execute statements there and return the last one's rows. Parameters and cells are numbers, texts or null.

        Raises WriterError.
        """
        return self._ask(sql, parameters, None)

    def send(
        self, sql: str, source: duckdb.DuckDBPyConnection, query: str, parameters: list[Any] | None = None
    ) -> None:
        """Execute a statement there that reads `incoming`: the rows of a query here, in their order.

        Raises WriterError, and duckdb.Error where the query fails.
        """
        # What DuckDB has and Arrow has not, such as UUID, arrives as text, which an insert casts.
        self._ask(sql, None, source.sql(query, params=parameters).to_arrow_reader(_BATCH_ROWS))

    def _ask(self, sql: str, parameters: list[Any] | dict[str, Any] | None, rows: pa.RecordBatchReader | None) -> Rows:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"sql": sql, "parameters": parameters, "has_rows": rows is not None}
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            if rows is not None:
                with pa.ipc.new_stream(pa.PythonFile(self._process.stdin, "w"), rows.schema) as stream:
                    for batch in rows:
                        stream.write_batch(batch)
            self._process.stdin.flush()
        except BrokenPipeError:
            # It has ended, and said why before.
            pass
        answer = json.loads(self._process.stdout.readline() or "null")
        if answer is None:
            raise WriterError(f"the process that writes ended by itself (exit code {self._process.wait()})")
        if "error" in answer:
            raise WriterError(answer["error"])
        return [tuple(row) for row in answer["rows"]]


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Do as the requests say until they end. The first error is the last answer: rows may wait that nobody reads."""
    # Nothing is spilled: what is written passes through.
    connection = duckdb.connect(config={"temp_directory": ""})
    connection.execute("set TimeZone = 'UTC'")
    for line in requests:
        request = json.loads(line)
        answer: dict[str, Any]
        try:
            if request["has_rows"]:
                connection.register(INCOMING, pa.ipc.open_stream(pa.PythonFile(requests, "r")))
            answer = {"rows": connection.execute(request["sql"], request["parameters"]).fetchall()}
            if request["has_rows"]:
                connection.unregister(INCOMING)
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
        if "error" in answer:
            return


if __name__ == "__main__":
    # An interrupt is for the one who asks: when it goes, so do the requests.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        # The one who asked has gone. Nothing is left to be flushed.
        os._exit(1)
