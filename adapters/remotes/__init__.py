"""Mirakl and KornitX over HTTP: the classes that implement `ports.Marketplace` and `ports.Oms`.

Read in this order:

- http: one call; it is timed and counted, and each way in which it can end has a name. `CallOutcome`
- mirakl: one shop at one marketplace. `MiraklShop`
- mirakl_carriers: which carrier of the marketplace is meant, and the body of OR23. `tracking_body`
- mirakl_messages, mirakl_text: what the customer wrote, from threads and HTML to plain text
- mirakl_account: the shop's own account and its documents
- kornitx: the call that imports an order. `KornitX`
- kornitx_order: an order of Mirakl in KornitX's form. `build_payload`, which KornitX.payload calls
- kornitx_money: amounts, net and gross
"""
