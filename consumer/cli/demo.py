"""The commands that run against simulated remotes: `orderflow demo` and `orderflow simulate`."""

from pathlib import Path
from typing import Annotated

import typer

from consumer.cli.output import BAD_ANSWER

Count = Annotated[int, typer.Option(min=1, max=100_000, help="How many orders arrive. From 150 on every story occurs.")]
Speed = Annotated[float, typer.Option(min=0.05, max=20, help="Speed of the simulated world: 2 is twice as fast.")]
Seed = Annotated[int, typer.Option(help="Another seed gives other orders.")]


def demo(
    *,
    orders: Count = 200,
    speed: Speed = 1.0,
    seed: Seed = 1,
    folder: Annotated[Path | None, typer.Option(help="Keep settings, store and logs in this folder.")] = None,
    kafka: Annotated[bool, typer.Option("--kafka", help="Use a real Kafka, started by the demo.")] = False,
    postgres: Annotated[bool, typer.Option("--postgres", help="Use a real PostgreSQL, started by the demo.")] = False,
    kafka_at: Annotated[str, typer.Option(metavar="HOST:PORT,...", help="Use this Kafka, with new topics.")] = "",
    postgres_at: Annotated[
        str, typer.Option(metavar="URL", help="Use this PostgreSQL; its database must be empty.")
    ] = "",
    chaos: Annotated[
        bool, typer.Option("--chaos", help="Kill a process every few seconds; needs Kafka and PostgreSQL.")
    ] = False,
) -> None:
    """Run the whole service against simulated remotes, then audit their books.

    Two marketplaces and an OMS are simulated on this machine; nothing else is needed. It takes about half a minute.
    With --kafka --postgres (both, or neither) every role runs in processes of its own: two pollers, two consumers, two
    workers and the web. The OMS then publishes straight to Kafka. --kafka needs Java 17 and Maven, --postgres needs
    PostgreSQL's programs.

    \b
    Examples:
      orderflow demo
      orderflow demo --orders 400 --speed 2 --seed 7
      orderflow demo --kafka --postgres --chaos
      orderflow demo --kafka-at 127.0.0.1:9092 --postgres-at postgresql+psycopg://me@127.0.0.1/demo
    """
    if bool(kafka or kafka_at) != bool(postgres or postgres_at):
        raise typer.BadParameter("--kafka and --postgres go together: many processes need both")
    if kafka or kafka_at:
        from consumer.demo.full import full_demo  # noqa: PLC0415 - as in `run`

        outcome = full_demo(
            orders=orders,
            speed=speed,
            seed=seed,
            folder=folder,
            kafka_at=[one for one in kafka_at.split(",") if one],
            postgres_at=postgres_at,
            chaos=chaos,
        )
    elif chaos:
        raise typer.BadParameter("--chaos kills processes: it needs --kafka and --postgres")
    else:
        from consumer.demo import embedded  # noqa: PLC0415 - as in `run`

        outcome = embedded.demo(orders=orders, speed=speed, seed=seed, folder=folder)
    if not outcome.passed:
        raise typer.Exit(BAD_ANSWER)


def simulate(
    *,
    orders: Count = 200,
    speed: Speed = 0.2,
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Where to write the configuration for a service.")] = Path("simulated"),
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="The port on which that service will listen for callbacks.")
    ] = 9464,
    host: Annotated[
        str,
        typer.Option(
            help="The address on which the simulators listen. 0.0.0.0 lets everybody in who reaches this machine, "
            "without TLS and without a password: only on a network of your own."
        ),
    ] = "127.0.0.1",
    config: Annotated[
        Path | None,
        typer.Option(
            help="Play for the service with this configuration, at the ports that it names, and end with the audit."
        ),
    ] = None,
    callbacks: Annotated[
        str, typer.Option(metavar="URL", help="With --config: the address of the service's `web`, which the OMS calls.")
    ] = "http://127.0.0.1:9464",
) -> None:
    """Run the simulators alone, until Ctrl-C, and write a configuration for a service to try on them.

    With --config the simulators play for a service that runs already, and its person's decisions are simulated too. The
    orders begin when the service's `web` listens. The command ends with the audit of the books: exit code 0 if it
    passed. No configuration is written.

    \b
    Example:
      orderflow simulate --folder simulated
      orderflow run --config simulated/orderflow.toml     (in another terminal)
    """
    if config is not None:
        from consumer.demo.beside import play_beside  # noqa: PLC0415 - as in `run`

        outcome = play_beside(config, orders=orders, speed=speed, seed=seed, host=host, callbacks=callbacks)
        if not outcome.passed:
            raise typer.Exit(BAD_ANSWER)
        return
    from consumer.demo import simulate as simulators  # noqa: PLC0415 - as in `run`

    simulators.simulate(orders=orders, speed=speed, seed=seed, folder=folder, port=port, host=host)
