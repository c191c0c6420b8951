#include "engine/deep_impl.h"

/* libcrypto keeps the octets that it read of a TBSCertificate and of each Name, and
 * hands them out again. Names are put together from their attributes here, and
 * i2d_re_X509_tbs drops the rest, so that what comes out is what it would write. */

static X509_NAME *name_anew(const X509_NAME *name)
{
    CM_AUTO(X509_NAME) made = X509_NAME_new();
    int set = -1;

    for (int i = 0; made != NULL && i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *e = X509_NAME_get_entry(name, i);
        /* -1: into the RDN before; 0: a new one. */
        const int where = X509_NAME_ENTRY_set(e) == set ? -1 : 0;
        set = X509_NAME_ENTRY_set(e);
        if (X509_NAME_add_entry(made, e, -1, where) != 1)
            return NULL;
    }
    return CM_STEAL(made);
}

/* An extension's value, by what libcrypto knows of its type; unknown ones pass. */
static bool extension_same(X509_EXTENSION *ext)
{
    const X509V3_EXT_METHOD *method = X509V3_EXT_get(ext);
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(ext);
    unsigned char *made = NULL;

    if (method == NULL || method->it == NULL)
        return true;
    void *parsed = X509V3_EXT_d2i(ext);
    if (parsed == NULL)
        return false;
    const int len = ASN1_item_i2d(parsed, &made, ASN1_ITEM_ptr(method->it));
    const bool same =
        len >= 0 && cm_span_eq(cm_span(made, (size_t) len),
                               cm_span(ASN1_STRING_get0_data(value), (size_t) ASN1_STRING_length(value)));
    OPENSSL_free(made);
    ASN1_item_free(parsed, ASN1_ITEM_ptr(method->it));
    return same;
}

static void check_extensions(struct cm_deep *d, const X509 *leaf)
{
    char name[80] = "";

    for (int i = 0; i < X509_get_ext_count(leaf); i++) {
        X509_EXTENSION *ext = X509_get_ext(leaf, i);
        if (extension_same(ext))
            continue;
        (void) OBJ_obj2txt(name, sizeof name, X509_EXTENSION_get_object(ext), 0);
        cm_deep_say(d, "certificate: libcrypto would write its extension \"%s\" otherwise, or can't read it",
                    name);
    }
}

void cm_deep_encode_anew(struct cm_deep *d, const X509 *leaf)
{
    unsigned char *made = NULL;
    CM_AUTO(X509) again = X509_dup(leaf);
    CM_AUTO(X509_NAME) subject = name_anew(X509_get_subject_name(leaf));
    int len = -1;

    if (again != NULL && subject != NULL && X509_set_subject_name(again, subject) == 1 &&
        i2d_re_X509_tbs(again, NULL) > 0)
        len = i2d_X509(again, &made);
    if (len < 0)
        cm_deep_say_why(d, "certificate: libcrypto can't encode it anew");
    else if (d->device->leaf.len > 0 && !cm_span_eq(d->device->leaf, cm_span(made, (size_t) len)))
        cm_deep_say(d, "certificate: libcrypto would write it otherwise: it isn't DER");
    OPENSSL_free(made);
    check_extensions(d, leaf);
}
