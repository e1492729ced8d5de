"""What a client made from /openapi.json by openapi-python-client does: the same steps as the programs beside it."""

import json
import os

from holdfast_client import AuthenticatedClient
from holdfast_client.api.balance import get_accounts_id_balance
from holdfast_client.api.generations import get_generations_id, post_generations
from holdfast_client.api.ledger import get_usage
from holdfast_client.api.prices import get_catalogs_catalog, post_quotes
from holdfast_client.models import GenerationRequest, PostQuotesBody, Problem

account = os.environ["HOLDFAST_ACCOUNT"]
client = AuthenticatedClient(base_url=os.environ["HOLDFAST_URL"], token=os.environ["HOLDFAST_KEY"], timeout=30)

catalog = get_catalogs_catalog.sync("atelier", client=client)
quote = post_quotes.sync(client=client, body=PostQuotesBody(account=account, action="image"))
order = GenerationRequest(account=account, action="image", quote=quote.id)
started = post_generations.sync(client=client, body=order, idempotency_key="from-python")
ended = get_generations_id.sync(started.id, client=client, wait=20)
balance = get_accounts_id_balance.sync(account, client=client)
usage = get_usage.sync(client=client, account=account, group_by="action,member")
problem = get_accounts_id_balance.sync("nobody", client=client)
assert isinstance(problem, Problem)

print(
    json.dumps(
        {
            "plan": catalog.plans[0].plan,
            "quoted": quote.credits_,
            "status": ended.status,
            "captured": ended.credits_.captured,
            "available": balance.available,
            "used": usage.data[0].key,
            "problem": problem.code,
        }
    )
)
