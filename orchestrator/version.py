"""Which dreamsweep this is."""

from importlib import metadata


def version() -> str:
    """The version that is installed; a checkout that was never installed has none."""
    try:
        return metadata.version("dreamsweep")
    except metadata.PackageNotFoundError:
        return "unknown version"
