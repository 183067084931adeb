"""`python -m services.embed`."""

import sys

from services.chassis.main import main
from services.embed.app import build

sys.exit(main("embed", build))
