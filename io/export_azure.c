#include "io/export_impl.h"

#include <ctype.h>

/* Azure IoT Hub's devices.txt, and the bodies of bulk calls to its Device Provisioning Service. */
enum { DPS_CALL = 10 }; /* enrollments in a call */

static bool judge_hub(struct cm_export *x, const struct cm_row *row, char why[CM_EXPORT_WHY])
{
    (void) x;
    if (cm_export_fits(row->device_id, "-:.+%_#*?!(),=@;$'", 1, 128))
        return true;
    (void) snprintf(why, CM_EXPORT_WHY,
                    "IoT Hub takes letters, digits and - : . + %% _ # * ? ! ( ) , = @ ; $ ' in an id, "
                    "at most 128 of them");
    return false;
}

static cm_err put_hub_row(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    struct cm_writer *const w = &x->text;
    char thumbprint[48];
    size_t n = 0;

    (void) err;
    for (; n + 1 < sizeof thumbprint && row->thumbprint_sha1[n] != '\0'; n++)
        thumbprint[n] = (char) toupper((unsigned char) row->thumbprint_sha1[n]);
    thumbprint[n] = '\0';
    cm_put_byte(w, '{');
    cm_put_member(w, "id", row->device_id);
    cm_put_lit(w, ",\"importMode\":\"create\",\"status\":\"enabled\",\"authentication\":{");
    if (x->options->azure_ca) {
        cm_put_lit(w, "\"type\":\"certificateAuthority\"");
    } else {
        cm_put_lit(w, "\"type\":\"selfSigned\",\"symmetricKey\":{\"primaryKey\":null,\"secondaryKey\":null},"
                      "\"x509Thumbprint\":{");
        cm_put_member(w, "primaryThumbprint", thumbprint);
        cm_put_lit(w, ",\"secondaryThumbprint\":null}");
    }
    cm_put_lit(w, "},\"capabilities\":{\"iotEdge\":false}}\n");
    return CM_OK;
}

/* registrationId is the CN. */
static bool judge_dps(struct cm_export *x, const struct cm_row *row, char why[CM_EXPORT_WHY])
{
    struct cm_subject subject;

    cm_subject_read(row->subject, &subject);
    const size_t len = strlen(subject.cn);
    if (cm_export_fits(subject.cn, "-._:", 1, 64) && strchr("._:", subject.cn[len - 1]) == NULL)
        return judge_hub(x, row, why);
    (void) snprintf(
        why, CM_EXPORT_WHY,
        "its CN is no registrationId: letters, digits and - . _ :, the last a letter, a digit or -, "
        "at most 64 of them");
    return false;
}

static cm_err put_dps_row(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    struct cm_writer *const w = &x->text;
    struct cm_subject subject;

    (void) err;
    cm_subject_read(row->subject, &subject);
    if (x->in_file % DPS_CALL == 0)
        cm_put_str(w, x->in_file > 0 ? "]}\n{\"mode\":\"create\",\"enrollments\":[{"
                                     : "{\"mode\":\"create\",\"enrollments\":[{");
    else
        cm_put_lit(w, ",{");
    cm_put_member(w, "registrationId", subject.cn);
    cm_put_member(w, "deviceId", row->device_id);
    cm_put_lit(w, ",\"attestation\":{\"type\":\"x509\",\"x509\":{\"clientCertificates\":{\"primary\":{"
                  "\"certificate\":");
    cm_put_json_span(w, cm_span(x->leaf.data, x->leaf.len));
    cm_put_lit(w, "}}}},\"provisioningStatus\":\"enabled\"}");
    return CM_OK;
}

static void end_dps(struct cm_export *x)
{
    cm_put_lit(&x->text, "]}\n");
}

const struct cm_export_format cm_export_azure_iothub = {
    .name = "azure-iothub",
    .judge = judge_hub,
    .row = put_hub_row,
};

const struct cm_export_format cm_export_azure_dps = {
    .name = "azure-dps",
    .unique_folded = true,
    .judge = judge_dps,
    .unique = cm_export_cn,
    .row = put_dps_row,
    .end = end_dps,
};
