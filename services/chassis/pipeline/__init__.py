"""What happens around every call, one concern per module.

In the order in which a call passes them: `trace` gives it a span, `observe` counts it, `translate` turns
errors into a status, `admit` refuses it when there are too many, `decode` parses its message. The handler
comes last.
"""

from services.chassis.pipeline.admit import Admission
from services.chassis.pipeline.decode import Decoding
from services.chassis.pipeline.interceptor import Pipeline
from services.chassis.pipeline.observe import Observation
from services.chassis.pipeline.trace import Spans
from services.chassis.pipeline.translate import Translation

__all__ = ["Admission", "Decoding", "Observation", "Pipeline", "Spans", "Translation"]
