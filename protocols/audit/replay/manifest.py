"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
    "encoding": ("a9d5eaf08e62131be7f3c2ba7cebb9d85fbe8e6187d69bfe83bed40f11a0cc86", 35),
    "residues": ("d084264c2285ce3e9ff45d050092ad07774b2308d0ea31c9870fa4a41e7076f1", 31),
    "prg": ("1e3c404f1a3e3113a214a2a36ad480519d3a345c94b5102ace5d484f45c3a84a", 13),
    "shamir": ("4a3e5c135503dd23d0f71c902a092ce67e37ae9a054963c7014a7652b03c2069", 23),
    "derivation": ("659d57844b348c4aa7f2230fca73fae29070018e2df0ac0c3c15ff65960d6d31", 64),
    "aead": ("a11919e995e708059766303165493433101aa59cbd22b79a0a7f3c49cc3db42a", 15),
    "key_agreement": ("8135045be0801ed0f93b1904c5abfb07ec2428cb2764c82938e62ce1a02f7a94", 23),
    "signatures": ("df00b51bfc4e0700a6c7b0e645cb7afc1320a8e7f7111afdccf3d666e4bd9226", 41),
    "privacy": ("7c9ec23e0769141afb4faab1e82ede9d1e552dc98ef85a7c8ad4b96ae8554acf", 157),
    "protocol": ("12a4fc01f92d221e553fea8557f49123422257cd34e331f634e4355e494857f6", 18),
    "session-curious-sparse": ("9ae6bcb53dc6c6670174f837d43852679e206acb90d9402d4dd2a42f26f1617a", 169),
    "session-curious-complete": ("48b48e073b7ee1b3275dc88c785f2076838ccad135122d47218a99c8814865b8", 157),
    "session-semi-malicious": ("fc314ca5bc9782c4555c6717fd7ebaf747d80771c71a2b43d8c3057b0551943f", 208),
    "session-malicious": ("b95cf5845d17df84d2a6e813868fae5a07e02bde75768f0eff1b64913dbdd43b", 201),
    "session-private-curious": ("9c4196852f3cf9afc25ee4a6f9e8044632896b629a47cfc9170ce442459289cb", 96),
    "session-private-semi-malicious": ("79a1d4ef7802c9389739636b80d9224bc98d9e46b0c1d2a32d0aff512cd38d42", 111),
    "session-private-malicious": ("246adb6585b069b0c4a4a126977c2cb0027dbdda993ed94e077832c0dcbc37ac", 110),
    "paillier-round": ("a426a5dc5183a685c1e43557ed29fbb1586c099419f61a1ef9eb3b8472f449fe", 84),
    "ledger": ("7c68a1c4c6fff5229ef0edb569c7dcabdd9ad005751c537d37ae11ffa1f59116", 121),
}
