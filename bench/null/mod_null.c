/* The floor: what a request costs in Apache when the handler does next to nothing. Paths that have
 * another size of answer than 13 bytes are the ones of bench/apps/app.py. */

#include "httpd.h"
#include "http_config.h"
#include "http_protocol.h"
#include "apr_strings.h"
#include "ap_config.h"

static char page[8192];

static int null_handler(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, "null"))
        return DECLINED;
    int status = ap_discard_request_body(r);
    if (status != OK)
        return status;
    ap_set_content_type(r, "text/plain");
    if (!strcmp(r->uri, "/page")) {
        ap_set_content_length(r, sizeof page);
        ap_rwrite(page, sizeof page, r);
    } else {
        ap_set_content_length(r, 13);
        ap_rwrite("Hello, world!", 13, r);
    }
    return OK;
}

static void register_hooks(apr_pool_t *pool)
{
    memset(page, 'x', sizeof page);
    ap_hook_handler(null_handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(null) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks};
