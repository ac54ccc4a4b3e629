//! Key pairs made for these tests and used nowhere else.

/// Modulus of the RSA key, base64url; its exponent is `AQAB`.
pub const RSA_MODULUS: &str = "qQf9wfIM2JWx4iy1_6SlVh-yKeSmPguR-S5dAnexZdw17KivB1-40BEq4q4jwuLjOYOAYur-ZKFxy6Lw62HSgoGgK3DMWmTX36Ux\
    hlbgoi_EKfF8jJe_LrXWuMSwtCQEctvV2YYqqVJ1T3g33ax18iMI6649kro38HTbpk-8NopYSXV_4oZE4t7bAJU6tMGFhVzyBMNK\
    Gt8udF_JnwQMdHcjhoQWkzz7fq5i2gKt5GjpzliQY8CY6zYgPRc1hl_H0-3s6vwocvrzv-Fge4rMAxIvADxrOGRvrbWAuYUd61Aa\
    qUC99LVYvdWxx61in-P_Cr1OF7Jj5UxOgls0NU1Vmw";

/// The RSA key in PKCS#1 DER, base64.
pub const RSA_PRIVATE: &str = "MIIEpAIBAAKCAQEAqQf9wfIM2JWx4iy1/6SlVh+yKeSmPguR+S5dAnexZdw17KivB1+40BEq4q4jwuLjOYOAYur+ZKFxy6Lw62HS\
    goGgK3DMWmTX36Uxhlbgoi/EKfF8jJe/LrXWuMSwtCQEctvV2YYqqVJ1T3g33ax18iMI6649kro38HTbpk+8NopYSXV/4oZE4t7b\
    AJU6tMGFhVzyBMNKGt8udF/JnwQMdHcjhoQWkzz7fq5i2gKt5GjpzliQY8CY6zYgPRc1hl/H0+3s6vwocvrzv+Fge4rMAxIvADxr\
    OGRvrbWAuYUd61AaqUC99LVYvdWxx61in+P/Cr1OF7Jj5UxOgls0NU1VmwIDAQABAoIBABRztL7VxGYkXrHzdPtUoZ4KbGqTPDt/\
    ojmYjtpwlGoIZgyXhcNfpU36Sx/DBZgGueBIoAKCqns56Y9DzOC+JP7Izmd92MwLLZo63ljXLuDmOgGqiBu+yfwjNl2ENwPk48Do\
    sTcGUSfMTrNp5As8sHIMI9UtxPd5nrEdLUKHR/T/6mqrijUuElwGd6ACp6Ucyzt/5rWU/OBS3r0aYgP0f2PbyluCoPlgHyuhJWn3\
    ODkfmloEC8pdM6RdLyVTX0+MAI9RPO6zlK0IblOLgI9J1Cc/ycCJ0nJ/K6DGY2oaRKHtPHwzJLlMjTfxiRmERsnuML48S1znyUCz\
    +9n4Tu38ZjECgYEA4lTbbSOOsUW2Uskj3nWLsGGDUFQEt0ZcfiO8AqTqmKU/wd+OPHOh6lJMwJMhy+boVLnTFl3O5VHXxKoF8lDi\
    GiwcHNhCaGAwv4jr4rxUfMcDNQzbxSuq//enzGJl8Aii74kYsTSOf8EK9EqswnrzKabf9RlDL/S3iF7JqOXQX+kCgYEAvzBGR3P2\
    dig7XWdPibtIzejlQf8NofNOhBvJhiPeb+nCMefMKHGixquaCwjGtIuJA71q5EySFmFO1ZHCZOT0RmFJM3odNyCKEOAcN7gj5LpN\
    CV8v3kRfXEct+K4azBSn8ltHtkI5pECChRY1l+1Ad362eugvnsMNpfQVqeJxuuMCgYBnXc/1EVc6+RaiyoAaOl74yCA70JNyzKyz\
    Y0ibgIwv+NCcj6gbTcg2By5MiSXXRPb4swGH5oH2U6GSjQA4Qd5xi5GvTslNeBjrcPIiVFbVweJiGSRJ8X6gdo/pFUtvC9K2SUvA\
    qrsl95k0JuKt0484h6EjBE2eGkqz+m5pN8Qp+QKBgQC9BKQm1m4PaT0v3gjT2bZj5OJruhanS54PnE1D8khjCo+0uT+tqJNOqa9V\
    Q2r4ao+eg/GfHli8CZ5gJYg0KeubfWlanFsv+lqlznv3VnUeGFY7csEnlR9WYwT/PFo/9BgK0tX2Skkkq6aen1ODDcvTmBIfN1iF\
    NMBUlxmn6LmaEwKBgQCv4hrD4JmIjPGMC0CTTqZiZ9LDUcnUbKvvVFUfbCoXwUI/2jLXimzHun/NtEOcSTPD74t5MFRqXV+K0JJ9\
    gjyEQvd8lSLIh4gDCQe/RdPrVFvm3SanJEG7sDL1/el5PPqYq5IrsCSHkl3t1qWtRNj0NDXkLEyrp2bnIiTns43UCw==";

/// Coordinates of the P-256 key, base64url.
pub const EC_X: &str = "-TgHo1nQCoiAmkd14wHvLcHzXrWIQjSGGOqEEr9MK98";
/// See [`EC_X`].
pub const EC_Y: &str = "6zFne0exYXdA2fpf2c2c75BcQlzOBkVmX6pI2C5JuoU";

/// The P-256 key in PKCS#8 DER, base64.
pub const EC_PRIVATE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgR2zPY4PVsg2S//hH4vTn1WQHKfp4AaBpwYrp9WHeOqmhRANCAAT5\
    OAejWdAKiICaR3XjAe8twfNetYhCNIYY6oQSv0wr3+sxZ3tHsWF3QNn6X9nNnO+QXEJczgZFZl+qSNguSbqF";
