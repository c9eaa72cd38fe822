"""Fetches packages by name from Debian, npm and PyPI, by their own clients, and unpacks them."""

import re
import subprocess
import tarfile
import zipfile

from armt_train.errors import TrainError

SECONDS = 300


def fetch(registry, package, folder):
    """Downloads a package once; gives (folder of its files, version).

    `registry`: "debian", "npm", "pypi" or "pypi-source". Raises TrainError where it cannot be fetched.
    """
    target = folder / f"{registry}-{re.sub('[^A-Za-z0-9.-]', '_', package)}"
    version_file = target / ".version"
    if version_file.is_file():
        return target, version_file.read_text()
    target.mkdir(parents=True, exist_ok=True)
    commands = {
        "debian": ["apt-get", "download", package],
        "npm": ["npm", "pack", "--silent", package],
        "pypi": ["python3", "-m", "pip", "download", "--quiet", "--no-deps", package],
        "pypi-source": ["python3", "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", package],
    }
    before = set(target.iterdir())
    try:
        done = subprocess.run(commands[registry], cwd=target, capture_output=True, text=True, timeout=SECONDS)
    except FileNotFoundError as error:
        raise TrainError(f"package {package}: `{commands[registry][0]}` is needed to fetch it ({registry})") from error
    except subprocess.TimeoutExpired as error:
        raise TrainError(f"package {package}: no answer from {registry} in {SECONDS} s") from error
    files = [f for f in set(target.iterdir()) - before if f.suffix in (".deb", ".tgz", ".gz", ".whl", ".zip")]
    if done.returncode or len(files) != 1:
        raise TrainError(f"package {package} ({registry}) was not fetched: {done.stderr.strip()[-400:]}")
    archive = files[0]
    version = re.search(
        r"[_-]v?(\d[^_]*?)(?:[_-](?:all|amd64|arm64|py\d.*|cp\d.*))?\.(?:deb|tgz|tar\.gz|whl|zip)$", archive.name
    )
    if archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", archive, target], check=True, timeout=SECONDS)
    elif archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(target)
    else:
        with tarfile.open(archive) as packed:
            packed.extractall(target, filter="data")
    archive.unlink()
    version_file.write_text(version.group(1).replace("%3a", ":") if version else "?")
    return target, version_file.read_text()
