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
    "privacy": ("a14938cb29e56dbef7cd1b0132db0cfcc80207452d2b73ac6d3420c52c9b3954", 157),
    "protocol": ("ba429680676d47b7a6030ba64cf42b0a07005c35ed6e81b62e65248336f4134e", 18),
    "session-curious-sparse": ("dfdefb9617ce2e9d8476c26ee64fde769567f1fc72260703c6cab61c64c08136", 170),
    "session-curious-complete": ("e9372d338eaa4fed182c710ff6ce4a1f2328809b2019f530fd9bad7aefec4dbe", 157),
    "session-semi-malicious": ("78dd191d4e0f90ba3750d2d804bf13baaee4299c0a7eec411ae25be057db1bb1", 208),
    "session-malicious": ("5ca393d70d2acb61dc20632928cd3e8ecfed7eeadecb43925d6c09958678fbbe", 201),
    "session-private-curious": ("4638bbda7a8a3d8a184d2266bd2c93af9b41addd350a5450c13bb79552eb92bb", 96),
    "session-private-semi-malicious": ("deb016187f3a0070042334995261d5190cd05545d2b8584cb1367ce63b7e3c5e", 111),
    "session-private-malicious": ("61dba3f1309cd476e776d8707a6f4b048d0e1101ba6d460dc8d7ce1124a61060", 110),
    "paillier-round": ("a426a5dc5183a685c1e43557ed29fbb1586c099419f61a1ef9eb3b8472f449fe", 84),
    "ledger": ("7c68a1c4c6fff5229ef0edb569c7dcabdd9ad005751c537d37ae11ffa1f59116", 121),
}
