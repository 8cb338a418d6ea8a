/* delivery.c -- "$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<consumer seq>.<time>.<left>",
 * or with a domain and an account behind "$JS.ACK", and then perhaps a random token at the end. */
#include "nats/delivery.h"

#include <stdlib.h>
#include <string.h>

bool naq_delivery_read(const char *reply, naq_delivery *out) {
    const char *tokens[16];
    int n = 0;
    if (reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0) return false;
    for (const char *at = reply; at != NULL && n < 16; n++) {
        tokens[n] = at;
        at = strchr(at, '.');
        if (at != NULL) at++;
    }
    /* The short form has 9 tokens, the long one 11, or 12 with a random one at the end. */
    int base = n >= 11 ? 4 : 2;
    if (n < 9) return false;
    out->sequence = strtoull(tokens[base + 3], NULL, 10);
    out->consumer_sequence = strtoull(tokens[base + 4], NULL, 10);
    out->time_us = strtoll(tokens[base + 5], NULL, 10) / 1000;
    out->left = strtoll(tokens[base + 6], NULL, 10);
    return true;
}
