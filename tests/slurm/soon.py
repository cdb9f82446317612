"""Snakemake, whose Slurm plugin asks for the states of the jobs each second.

By itself the plugin waits ten seconds longer after each question to which no job has ended, and has
no option for it: most of the time of these tests would go by in that wait.

Use: python soon.py ARGUMENTS_OF_SNAKEMAKE
"""

import asyncio

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

INTERVAL_S = 1


async def sleep(self: RemoteExecutor) -> None:
    """Waits between two questions, in place of the plugin's own wait."""
    await asyncio.sleep(INTERVAL_S)


if __name__ == "__main__":
    RemoteExecutor.sleep = sleep
    main()
