"""`inglenook demo`: real texts through the router, and what came back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inglenook.common.v1 import Truncation
from inglenook.embed.v1 import EmbedRequest, EmbedResponse, EmbedServiceStub, InputType

from services.cli.client import Answer, Client, router_address, serves
from services.cli.cluster import EMBED_SERVICE, Cluster, ClusterFailed
from services.cli.commands.embed import summary
from services.cli.commands.up import START_SECONDS
from services.cli.console import Output, shortened, table
from services.cli.session import TIMEOUT_SECONDS, AsJson, ConfigPath, calling, read_configuration
from services.config import ConfigurationFile

QUERY = "How do I keep a fire going through the night?"
DOCUMENTS = (
    "Bank the embers with ash before you go to bed, and they will still glow in the morning.",
    "Hardwood burns slowly: a thick oak log at the back of the hearth lasts for hours.",
    "The bakery on the corner sells rye bread on Tuesdays.",
    "Close the damper halfway once the flames are low, so that less air reaches the coals.",
    "Our team won the match in the last minute with a header from the left.",
    "A password should be long, random, and used in one place only.",
)
SHOWN_CHARACTERS = 72


@dataclass(frozen=True, slots=True)
class Ranking:
    """The documents by similarity to the query, best first."""

    query: Answer[EmbedResponse]
    documents: Answer[EmbedResponse]
    order: list[tuple[float, str]]


def demo(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Embed a query and a few documents, and rank the documents by similarity.

    Uses the router that the configuration names if it answers; else starts a cluster for the time being.
    """
    output = Output(as_json=as_json)
    file = read_configuration(output, config)
    address = router_address(file.configuration)
    try:
        with _a_cluster(output, file, address) as whose:
            with calling(output, address, TIMEOUT_SECONDS, "embedding") as client:
                ranking = _rank(client)
            _tell(output, ranking, f"{address} ({whose})")
    except ClusterFailed as error:
        output.fail(str(error))


@contextmanager
def _a_cluster(output: Output, file: ConfigurationFile, address: str) -> Iterator[str]:
    """Provide a router that embeds at `address`; yield whose it is."""
    if serves(address, EMBED_SERVICE):
        yield "already running"
        return
    with (
        tempfile.TemporaryDirectory(prefix="inglenook-demo-") as logs,
        Cluster(file, logs=Path(logs), arguments=("--drain-seconds", "0")) as cluster,
    ):
        with output.progress("starting a cluster") as tell:
            cluster.start_all()
            cluster.wait_until_serving(START_SECONDS, tell)
        yield "started for this demo"


def _rank(client: Client) -> Ranking:
    embed = EmbedServiceStub(client.channel).Embed
    query = client.call(embed, _request([QUERY], InputType.INPUT_TYPE_QUERY))
    documents = client.call(embed, _request(DOCUMENTS, InputType.INPUT_TYPE_DOCUMENT))
    wanted = query.message.embeddings[0].values
    scored = [
        (sum(a * b for a, b in zip(wanted, found.values, strict=True)), text)
        for found, text in zip(documents.message.embeddings, DOCUMENTS, strict=True)
    ]
    return Ranking(query, documents, sorted(scored, reverse=True))


def _request(texts: Sequence[str], input_type: InputType.ValueType) -> EmbedRequest:
    return EmbedRequest(inputs=texts, input_type=input_type, truncation=Truncation.TRUNCATION_RIGHT)


def _tell(output: Output, ranking: Ranking, router: str) -> None:
    output.json(
        {
            "router": router,
            "query": {"text": QUERY, **_how(ranking.query)},
            "documents": [{"text": text, "similarity": score} for score, text in ranking.order],
            "documentsCall": _how(ranking.documents),
        }
    )
    made = table(">SIMILARITY", "DOCUMENT")
    for score, text in ranking.order:
        made.add_row(f"{score:.3f}", shortened(text, SHOWN_CHARACTERS))
    output.show(
        f"router     {router}",
        f"query      {QUERY}",
        "",
        made,
        "",
        f"query      {summary(ranking.query)}",
        f"documents  {summary(ranking.documents)}",
    )


def _how(answer: Answer[EmbedResponse]) -> dict[str, object]:
    response = answer.message
    return {
        "model": response.model,
        "servedBy": answer.served_by,
        "seconds": answer.seconds,
        "inputTokens": response.usage.input_tokens,
        "inferenceSeconds": response.timings.inference_time.ToTimedelta().total_seconds(),
    }
