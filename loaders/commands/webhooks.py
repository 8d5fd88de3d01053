"""`meterhouse webhooks`: the receiver."""

import os
import socket

import click

from loaders.commands.options import Settings, home_option
from loaders.commands.printing import say
from loaders.errors import HomeError, UsageError

SECRET = "POLAR_WEBHOOK_SECRET"


@click.command("webhooks")
@click.option(
    "--host",
    envvar="METERHOUSE_WEBHOOKS_HOST",
    default="127.0.0.1",
    show_default=True,
    show_envvar=True,
    help="The address to listen on. Beyond this machine put a proxy with TLS in front.",
)
@click.option(
    "--port",
    envvar="METERHOUSE_WEBHOOKS_PORT",
    type=click.IntRange(0, 65535),
    default=8787,
    show_default=True,
    show_envvar=True,
    help="The port to listen on; 0 takes a free one.",
)
@home_option
@click.pass_obj
def command(settings: Settings, host: str, port: int) -> None:
    """Receive Polar's webhooks until SIGTERM or Ctrl-C; the next 'meterhouse run' lands them.

    Deliveries signed with POLAR_WEBHOOK_SECRET (from the environment; several, with spaces between, while one is
    replaced by another) are kept in the home folder before they are answered. POST them to / or /webhooks; GET
    /healthz says how it goes.

    \b
    Example:
      meterhouse webhooks --port 8787
    """
    secrets = os.environ.get(SECRET, "").split()
    if not secrets:
        what = "no secret is set, and nothing unsigned is received"
        raise UsageError(f"{SECRET}: {what}. Set it to the secret that Polar shows for the webhook endpoint.")
    with _listen(host, port) as listener:
        _receive(settings, secrets, listener)


def _receive(settings: Settings, secrets: list[str], listener: socket.socket) -> None:
    from loaders.sources.spool import Spool
    from loaders.sources.webhooks import serve
    from loaders.warehouse import Home

    home = Home(settings.home)
    home.ensure()
    address, port = listener.getsockname()[:2]
    shown = f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
    spool = Spool(home.path)

    def announce() -> None:
        say(f"Receiving webhooks at {shown}; they are kept in {spool.folder}.", err=True)

    counts = serve(spool, secrets, listener, on_ready=announce)
    what = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    say(f"Ended: {what}. Land them with 'meterhouse run'.", err=True)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=1024)
        # asyncio sets it only on sockets made with a protocol's number: an answer's second packet would wait 40 ms.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        advice = "Choose another with --host or --port (METERHOUSE_WEBHOOKS_HOST, METERHOUSE_WEBHOOKS_PORT)."
        raise HomeError(f"{host}:{port}: cannot listen there ({reason}). {advice}") from error
