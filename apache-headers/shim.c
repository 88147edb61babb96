/* The macros of Apache and APR that Rust cannot call, one function each and no logic. */
#include "wrapper.h"

APR_DECLARE_OPTIONAL_FN(int, ssl_is_https, (conn_rec *));
APR_DECLARE_OPTIONAL_FN(char *, ssl_var_lookup, (apr_pool_t *, server_rec *, conn_rec *, request_rec *, char *));

static APR_OPTIONAL_FN_TYPE(ssl_is_https) *https_lookup;
static APR_OPTIONAL_FN_TYPE(ssl_var_lookup) *tls_lookup;

#if AP_MODULE_MAGIC_AT_LEAST(20120211, 110)
void shim_hook_child_stopping(void (*stopping)(apr_pool_t *child, int graceful)) { ap_hook_child_stopping(stopping, NULL, NULL, APR_HOOK_MIDDLE); }
#else
void shim_hook_child_stopping(void (*stopping)(apr_pool_t *child, int graceful)) { (void)stopping; }
#endif
int shim_request_level(const request_rec *r, int module_index) { return ap_get_request_module_loglevel(r, module_index); }
int shim_server_level(const server_rec *s, int module_index) { return ap_get_server_module_loglevel(s, module_index); }
apr_bucket *shim_brigade_first(apr_bucket_brigade *bb) { return APR_BRIGADE_FIRST(bb); }
void shim_brigade_append(apr_bucket_brigade *bb, apr_bucket *b) { APR_BRIGADE_INSERT_TAIL(bb, b); }
int shim_brigade_empty(const apr_bucket_brigade *bb) { return APR_BRIGADE_EMPTY(bb); }
int shim_bucket_is_eos(const apr_bucket *b) { return APR_BUCKET_IS_EOS(b); }
int shim_bucket_is_metadata(const apr_bucket *b) { return APR_BUCKET_IS_METADATA(b); }
apr_status_t shim_bucket_read(apr_bucket *b, const char **data, apr_size_t *length) { return apr_bucket_read(b, data, length, APR_BLOCK_READ); }
apr_status_t shim_bucket_split(apr_bucket *b, apr_size_t point) { return apr_bucket_split(b, point); }
apr_status_t shim_bucket_setaside(apr_bucket *b, apr_pool_t *p) { return apr_bucket_setaside(b, p); }
void shim_bucket_remove(apr_bucket *b) { APR_BUCKET_REMOVE(b); }
void shim_bucket_delete(apr_bucket *b) { apr_bucket_delete(b); }
const char *shim_register_https_lookup(void) { https_lookup = APR_RETRIEVE_OPTIONAL_FN(ssl_is_https); tls_lookup = APR_RETRIEVE_OPTIONAL_FN(ssl_var_lookup); return https_lookup ? "mod_ssl" : ""; }
int shim_request_is_https(request_rec *r) { return https_lookup && https_lookup(r->connection); }
const char *shim_tls_variable(request_rec *r, const char *name) { return tls_lookup ? tls_lookup(r->pool, r->server, r->connection, r, (char *)name) : NULL; }
int shim_status_is_timeup(apr_status_t s) { return APR_STATUS_IS_TIMEUP(s); }
int shim_status_is_eof(apr_status_t s) { return APR_STATUS_IS_EOF(s) || APR_STATUS_IS_INCOMPLETE(s); }
int shim_status_is_reset(apr_status_t s) { return APR_STATUS_IS_ECONNRESET(s) || APR_STATUS_IS_ECONNABORTED(s) || APR_STATUS_IS_EPIPE(s); }
int shim_status_is_enospc(apr_status_t s) { return APR_STATUS_IS_ENOSPC(s); }
int shim_status_is_again(apr_status_t s) { return APR_STATUS_IS_EAGAIN(s); }
int shim_method_is_get(const request_rec *r) { return r->method_number == M_GET; }
void shim_brigade_drop_flushes(apr_bucket_brigade *bb) {
    if (bb)
        for (apr_bucket *b = APR_BRIGADE_FIRST(bb), *next; b != APR_BRIGADE_SENTINEL(bb); b = next) {
            next = APR_BUCKET_NEXT(b);
            if (APR_BUCKET_IS_FLUSH(b))
                apr_bucket_delete(b);
        }
}
