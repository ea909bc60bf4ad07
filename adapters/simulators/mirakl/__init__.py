"""A simulated Mirakl marketplace, as one seller sees it (docs/mirakl.md 2 to 6, 9).

Read the modules in this order: model, marketplace, changes, api, query, listing (OR11), threads (M10, M11),
account (A01, A02, S30, S31, S33), catalog (PC01, SH12, SH21).

Public names:
  model        Marketplace, Carrier, ShippingType, Knobs, Call, stamp; sets of states: DEBIT, SENT; OWN_CENTER
  marketplace  MiraklSimulator
  changes      refund, pay_refunds, cancel_pieces, set_line, set_fields, set_address, set_centre, withhold,
               put_in_state, date_ahead
  api          mirakl_app
"""
