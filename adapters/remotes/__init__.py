"""Mirakl and KornitX over HTTP: the classes that implement `ports.Marketplace` and `ports.Oms`.

Read in this order:

- http: one call; it is timed and counted, and each way in which it can end has a name. `CallOutcome`
- mirakl: one shop at one marketplace. `MiraklShop`
- mirakl_text: customers' messages from HTML to plain text
- kornitx: the call that imports an order. `KornitX`
- kornitx_order: an order of Mirakl in KornitX's form. `build_payload`, which KornitX.payload calls
- countries: country codes, found by code or by name
"""
