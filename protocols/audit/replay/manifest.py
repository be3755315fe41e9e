"""The files in `vectors`: SHA-256 and number of cases. Written by `python -m tests.vectors.generate`."""

from __future__ import annotations

FILES: dict[str, tuple[str, int]] = {
    "encoding": ("a9d5eaf08e62131be7f3c2ba7cebb9d85fbe8e6187d69bfe83bed40f11a0cc86", 35),
    "residues": ("d084264c2285ce3e9ff45d050092ad07774b2308d0ea31c9870fa4a41e7076f1", 31),
    "prg": ("1e3c404f1a3e3113a214a2a36ad480519d3a345c94b5102ace5d484f45c3a84a", 13),
    "shamir": ("4a3e5c135503dd23d0f71c902a092ce67e37ae9a054963c7014a7652b03c2069", 23),
    "derivation": ("9dc7873948cb5916101d3f9e7ebe48ef90129fbe720d5b308cf7abcc4a4fa0f3", 66),
    "aead": ("a11919e995e708059766303165493433101aa59cbd22b79a0a7f3c49cc3db42a", 15),
    "key_agreement": ("8135045be0801ed0f93b1904c5abfb07ec2428cb2764c82938e62ce1a02f7a94", 23),
    "signatures": ("df00b51bfc4e0700a6c7b0e645cb7afc1320a8e7f7111afdccf3d666e4bd9226", 41),
    "privacy": ("7c9ec23e0769141afb4faab1e82ede9d1e552dc98ef85a7c8ad4b96ae8554acf", 157),
    "protocol": ("733b66e6039ae6f05212214022c5c34c63177a86b04865a8ff8d16ca9ea4cc0f", 18),
    "session-curious-sparse": ("23f8deab67ecb418641b0680c1c6b2e7a8245c9cc7d5d1d2445d4e489eafe0a3", 167),
    "session-curious-complete": ("1c812ea6267a6a5207a9b2976bd6dbb9f289b35f619cf567aebed3666b4aedb2", 155),
    "session-semi-malicious": ("09aca242ce6329bdbeed66923215b129050ac9ef8f0dcf8b1196f71e12d7e3ca", 207),
    "session-malicious": ("8dc41591c0083c4dbd7e4893f8163887e633ae782bde18d788ed963e6cfa82c2", 199),
    "session-private-curious": ("4467867b53da382a9d8c3d79846852073f59b9e08ac8c93d45bfd495c2b83ca8", 96),
    "session-private-semi-malicious": ("e0d026892742a052d91fcbdd5589bd6ca37665367b516ee5cad57c58863ff6a1", 111),
    "session-private-malicious": ("90c6cd27b5ce45d148bd138f8ae919c9f9720f01099733ca76601fe34aeb0369", 110),
    "paillier-round": ("7ae571cd4a01c3dd812c802e01e316c4ac437cfdeea3e298cf7a6b4c9e4963c5", 100),
    "paillier-round-once": ("81dd1751b119974009d5af744994a4e8b1ab5613f20ffc8941790b8348813ff3", 86),
    "ledger": ("7c68a1c4c6fff5229ef0edb569c7dcabdd9ad005751c537d37ae11ffa1f59116", 121),
}
