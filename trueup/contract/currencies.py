"""The currencies that exist: active ISO 4217 codes, in lower case as Stripe writes them.

Read from the ISO 4217 list in November 2026. Codes for metals, testing and no currency (XAU, XTS, XXX …) are left
out: nobody is billed in them.
"""

from __future__ import annotations

from typing import Final

CURRENCIES: Final = frozenset(
    """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd btn bwp byn bzd cad cdf chf clp
    cny cop crc cuc cup cve czk djf dkk dop dzd egp ern etb eur fjd fkp gbp gel ghs gip gmd gnf gtq gyd hkd hnl hrk htg
    huf idr ils inr iqd irr isk jmd jod jpy kes kgs khr kmf kpw krw kwd kyd kzt lak lbp lkr lrd lsl lyd mad mdl mga mkd
    mmk mnt mop mru mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf
    sar sbd scr sdg sek sgd shp sle sll sos srd ssp stn svc syp szl thb tjs tmt tnd top try ttd twd tzs uah ugx usd uyu
    uzs ved ves vnd vuv wst xaf xcd xcg xof xpf yer zar zmw zwg
    """.split()
)
