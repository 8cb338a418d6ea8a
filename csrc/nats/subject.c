/* subject.c -- checks before libnats is called. */
#include "nats/subject.h"

#include <string.h>

enum { SHOWN = 96 };

static bool visible(unsigned char c) {
    return c > ' ' && c != 0x7F;
}

/* What is wrong with the token of n bytes at s, or NULL. */
static const char *token_fault(const char *s, size_t n, bool last, bool wildcards) {
    if (n == 0) return "has an empty token";
    for (size_t i = 0; i < n; i++)
        if (!visible((unsigned char)s[i])) return "contains white space or a control character";
    bool star = n == 1 && s[0] == '*', rest = n == 1 && s[0] == '>';
    if (!wildcards && (star || rest)) return "has a wildcard";
    return rest && !last ? "has a '>' that is not its end" : NULL;
}

naq_status naq_subject_check(const char *s, size_t len, bool wildcards, naq_err *err) {
    if (len == 0) return naq_fail(err, NAQ_INVALID, "an empty subject");
    for (const char *at = s, *end = s + len; at <= end;) {
        const char *dot = memchr(at, '.', (size_t)(end - at));
        const char *stop = dot != NULL ? dot : end;
        const char *fault = token_fault(at, (size_t)(stop - at), dot == NULL, wildcards);
        if (fault != NULL)
            return naq_fail(err, NAQ_INVALID, "subject '%.*s' %s", len > SHOWN ? SHOWN : (int)len,
                            s, fault);
        at = stop + 1;
    }
    return NAQ_OK;
}

naq_status naq_name_check(const char *what, const char *s, size_t len, naq_err *err) {
    bool good = len > 0 && len <= 255;
    for (size_t i = 0; good && i < len; i++)
        good = visible((unsigned char)s[i]) && strchr(".*>/\\", s[i]) == NULL;
    if (good) return NAQ_OK;
    return naq_fail(err, NAQ_INVALID, "'%.*s' is no %s name", len > SHOWN ? SHOWN : (int)len, s,
                    what);
}

naq_status naq_header_check(const char *name, size_t name_len, const char *value, size_t value_len,
                            naq_err *err) {
    bool good = name_len > 0;
    for (size_t i = 0; good && i < name_len; i++)
        good = visible((unsigned char)name[i]) && (unsigned char)name[i] < 0x80 && name[i] != ':';
    if (!good)
        return naq_fail(err, NAQ_INVALID, "'%.*s' is no header name",
                        name_len > SHOWN ? SHOWN : (int)name_len, name);
    if (value_len == 0)
        return naq_fail(err, NAQ_INVALID,
                        "header %.96s: an empty value, after which libnats 3.4 reads no further",
                        name);
    for (size_t i = 0; i < value_len; i++)
        if (value[i] == '\r' || value[i] == '\n' || value[i] == '\0')
            return naq_fail(err, NAQ_INVALID,
                            "header %.96s: a value has no line breaks and no NULs", name);
    return NAQ_OK;
}
