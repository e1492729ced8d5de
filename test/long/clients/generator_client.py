"""What a client made from /openapi.json by openapi-generator does: the same steps as the programs beside it."""

import json
import os

import openapi_client as holdfast

account = os.environ["HOLDFAST_ACCOUNT"]
configuration = holdfast.Configuration(host=os.environ["HOLDFAST_URL"], access_token=os.environ["HOLDFAST_KEY"])

with holdfast.ApiClient(configuration) as client:
    prices = holdfast.PricesApi(client)
    generations = holdfast.GenerationsApi(client)
    balances = holdfast.BalanceApi(client)
    catalog = prices.get_catalogs_catalog("atelier")
    quote = prices.post_quotes(holdfast.PostQuotesRequest(account=account, action="image"))
    order = holdfast.GenerationRequest(account=account, action="image", quote=quote.id)
    started = generations.post_generations("from-generator", order)
    ended = generations.get_generations_id(started.id, wait=20)
    balance = balances.get_accounts_id_balance(account)
    usage = holdfast.LedgerApi(client).get_usage(account, group_by="action,member")
    try:
        balances.get_accounts_id_balance("nobody")
        raise AssertionError("nobody has a balance")
    except holdfast.exceptions.NotFoundException as refused:
        problem = refused.data

print(
    json.dumps(
        {
            "plan": catalog.plans[0].plan,
            "quoted": quote.credits,
            "status": ended.status,
            "captured": ended.credits.captured,
            "available": balance.available,
            "used": usage.data[0].key.to_dict(),
            "problem": problem.code,
        }
    )
)
