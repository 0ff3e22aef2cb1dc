"""`python -m agent_core`: runs the core as its environment says."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
from collections.abc import Callable
from contextlib import ExitStack

import uvloop

from agent_core.agents.embedded.settings import ModelSettings
from agent_core.agents.endpoint.settings import EndpointSettings
from agent_core.agents.loading import AgentLoadError, parse_sources
from agent_core.reloading import AGAIN_S, ReloadWatch, Restart
from agent_core.server import CoreServer, CoreStartError
from agent_core.settings import Settings
from tokenwire.descriptors import DescriptorWatch, raise_limit, warn_if_short
from tokenwire.garbage import GarbageCollection
from tokenwire.logs import set_up_logging
from tokenwire.loop_watchdog import LoopWatchdog
from tokenwire.settings import WRONG_SETTINGS, WrongSettingError, read_settings
from tokenwire.signals import means_hurry, stop_signals
from tokenwire.telemetry import set_up_tracing
from tokenwire.telemetry.loop_lag import loop_lag
from tokenwire.telemetry.metrics.server import MetricsPortError, MetricsServer, bind_metrics
from tokenwire.telemetry.metrics.setup import set_up_metrics
from tokenwire.telemetry.settings import TelemetrySettings
from tokenwire.variables import unknown_variables

logger = logging.getLogger("agent_core")


async def serve(
    settings: Settings, metrics: MetricsServer, stop_telemetry: Callable[[], None], restart: Restart
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP, then go down in order. A second one gives runs no more time.

    Args:
        settings: As the operator set them.
        metrics: Serves `/metrics` while the core lives, where a port was asked for.
        stop_telemetry: Exports what there is. Called here only where this does not return.
        restart: How this process began.

    Raises:
        AgentLoadError: An agent can't be used.
        CoreStartError: The core can't start.
        WrongSettingError: It never can as it is set up.
    """
    stop, hurry = _hear_signals()
    core = CoreServer(settings)
    reloading = ReloadWatch(parse_sources(settings.agent)) if settings.reload else None
    await metrics.start()
    watch = asyncio.create_task(DescriptorWatch().run())
    stopping = asyncio.create_task(stop.wait())
    try:
        loaded = await _start(core, stopping, reloads=settings.reload)
    except BaseException:
        stopping.cancel()
        await core.agents.aclose()
        await metrics.stop()
        raise
    with LoopWatchdog(), GarbageCollection():
        await _until_stop_or_change(stopping, reloading, loaded=loaded)
    logger.info("core stopping")
    watch.cancel()
    await core.stop(hurry)
    loop_lag().stop()
    await metrics.stop()
    logger.info("core stopped")

    def clean_up() -> None:
        stop_telemetry()
        logging.shutdown()

    if not stop.is_set():
        await restart.begin_again(stop, clean_up, port=core.port)
        os._exit(0)
    if core.manager.unstopped_agents:
        clean_up()
        # The event loop waits for ever for the tasks of agents that do not stop.
        os._exit(0)


def _hear_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Return what is set by the first signal that asks for the end, and by one that asks for it at once."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def signalled(number: signal.Signals) -> None:
        if stop.is_set() and means_hurry(number):
            hurry.set()
        stop.set()

    loop = asyncio.get_running_loop()
    for number in stop_signals():
        loop.add_signal_handler(number, signalled, number)
    return stop, hurry


async def _start(core: CoreServer, stopping: asyncio.Task[bool], *, reloads: bool) -> bool:
    """Return whether the core serves: it does not where it is to stop, or where an agent can yet be mended.

    Args:
        core: What is started.
        stopping: Done when the core is to stop, which may be before it is ready.
        reloads: Whether the core begins anew when its agents' files change: then it is logged, and no more,
            that one can't be loaded.

    Raises:
        AgentLoadError: As with `serve`, and so the others.
    """
    serving = asyncio.create_task(core.start())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        # Stopped while an agent still gets ready, which can take minutes.
        serving.cancel()
        await asyncio.wait({serving})
        return False
    try:
        serving.result()
    except AgentLoadError as error:
        if not reloads:
            raise
        logger.error("%s", error)  # noqa: TRY400 # a line for the developer, who is about to mend it
        return False
    loop_lag().start()  # Getting ready may take its time.
    return True


async def _until_stop_or_change(
    stopping: asyncio.Task[bool], reloading: ReloadWatch | None, *, loaded: bool
) -> None:
    """Return when the core is to stop, or to begin anew since its agents' files have changed."""
    if reloading is None:
        await stopping
        return
    changing = asyncio.create_task(reloading.changed(loaded=loaded), name="look for changes")
    await asyncio.wait({stopping, changing}, return_when=asyncio.FIRST_COMPLETED)
    if changing.done():
        stopping.cancel()
        changing.result()  # raises what its bugs are
    changing.cancel()


def main() -> int:
    """Return the exit status: 0 after a signal, 2 when the settings are wrong, 1 when it can't start.

    With --reload a core that has served before tries again until it can start: its port or its store may be
    away for a moment.
    """
    restart = Restart()
    settings = read_settings("agent_core", Settings)
    telemetry = read_settings("agent_core", TelemetrySettings)
    if read_settings("agent_core", EndpointSettings).url is None:
        read_settings("agent_core", ModelSettings)
    set_up_logging(settings.log_level, settings.log_format)
    if settings.shared_owner:
        logger.warning("TOKENWIRE_SHARED_OWNER is set: all users share runs, sessions and histories")
    for line in unknown_variables(os.environ):
        logger.warning("%s", line)
    raise_limit()
    # At most: edges, and services that keep their connections, hold many follows on one.
    warn_if_short(settings.max_follows, f"TOKENWIRE_MAX_FOLLOWS={settings.max_follows}")
    instance_id = secrets.token_hex(8)
    stop_telemetry = ExitStack()
    try:
        stop_telemetry.callback(set_up_tracing("tokenwire-core", instance_id=instance_id, settings=telemetry))
        stop_telemetry.callback(set_up_metrics("core", instance_id=instance_id))
    except ValueError as error:
        logger.error("%s", error)  # noqa: TRY400 # a line for the operator, not a traceback
        return WRONG_SETTINGS
    try:
        metrics = MetricsServer(bind_metrics(telemetry))
        uvloop.run(serve(settings, metrics, stop_telemetry.close, restart))
    except WrongSettingError as error:
        logger.error("%s", error)  # noqa: TRY400 # as above
        return WRONG_SETTINGS
    except (AgentLoadError, CoreStartError, MetricsPortError) as error:
        logger.error("%s", error)  # noqa: TRY400 # a line for the operator, not a traceback
        if not (settings.reload and restart.has_served):
            return 1
        logger.warning("the core has not started again: the next try is in %g s", AGAIN_S)
        stop_telemetry.close()
        logging.shutdown()
        restart.try_again()
    finally:
        stop_telemetry.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
