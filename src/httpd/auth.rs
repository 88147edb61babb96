//! Access control: the hook on which clients may come in, and providers for mod_auth_basic, mod_auth_digest and
//! mod_authz_core. A trait for each, and the C functions httpd calls for it.

use super::hooks::{MIDDLE, Order};
use super::{Outcome, Request, guard};
use crate::apr::{Pool, bytes};
use crate::bindings::{
    AP_AUTH_INTERNAL_PER_CONF, AUTHN_PROVIDER_GROUP, AUTHN_PROVIDER_VERSION, AUTHZ_PROVIDER_GROUP,
    AUTHZ_PROVIDER_VERSION, HTTP_INTERNAL_SERVER_ERROR, ap_hook_check_access,
    ap_register_auth_provider, authn_provider, authn_status, authz_provider, authz_status,
    cmd_parms, request_rec,
};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;

/// Says which hosts may come in (`ap_hook_check_access`).
pub(crate) trait AccessChecker {
    fn check(request: &mut Request<'_>) -> Outcome;
}

/// Knows users: a provider for `AuthBasicProvider` and `AuthDigestProvider`.
pub(crate) trait Authenticator {
    /// Is that the user's password?
    fn check_password(request: &mut Request<'_>, user: &[u8], password: &[u8]) -> Password;

    /// MD5 of `user:realm:password`, in hexadecimal digits.
    fn realm_hash(request: &mut Request<'_>, user: &[u8], realm: &[u8]) -> RealmHash;
}

/// What is known of a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Password {
    Right,
    Wrong,
    /// There is no such user here; the next provider is asked.
    UnknownUser,
    /// The question could not be answered; the client gets a 500.
    Failed,
}

/// What is known of a user of a realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RealmHash {
    Known(Vec<u8>),
    /// There is no such user here; the next provider is asked.
    UnknownUser,
    /// The question could not be answered; the client gets a 500.
    Failed,
}

/// Knows what users may do: a provider for `Require`.
pub(crate) trait Authorizer {
    /// A `Require` line as it is kept.
    type Required: 'static;

    /// Reads what stands behind the provider's name. An error is a sentence for the administrator.
    fn parse(line: &[u8]) -> Result<Self::Required, String>;

    /// Is this fulfilled? There is a user.
    fn check(request: &mut Request<'_>, required: &Self::Required) -> bool;
}

pub(crate) fn hook_access_checker<A: AccessChecker>(order: &Order) {
    unsafe extern "C" fn call<A: AccessChecker>(raw: *mut request_rec) -> c_int {
        guard(HTTP_INTERNAL_SERVER_ERROR as c_int, || {
            // SAFETY: httpd lends a live request for the length of the call.
            let mut request = unsafe { Request::from_raw(raw) };
            A::check(&mut request).into_raw()
        })
    }
    let (after, before) = order.lists();
    let per_configuration = AP_AUTH_INTERNAL_PER_CONF as c_int;
    // SAFETY: called from register_hooks, where httpd takes hooks; the lists are leaked and the function is static.
    unsafe { ap_hook_check_access(Some(call::<A>), after, before, MIDDLE, per_configuration) };
}

/// Registers an authentication provider under `name`.
pub(crate) fn register_authenticator<A: Authenticator>(pool: Pool<'_>, name: &'static CStr) {
    register(pool, AUTHN_PROVIDER_GROUP, name, AUTHN_PROVIDER_VERSION, Tables::<A>::AUTHN);
}

/// Registers an authorization provider under `name`.
pub(crate) fn register_authorizer<A: Authorizer>(pool: Pool<'_>, name: &'static CStr) {
    register(pool, AUTHZ_PROVIDER_GROUP, name, AUTHZ_PROVIDER_VERSION, Tables::<A>::AUTHZ);
}

fn register<T>(
    pool: Pool<'_>,
    group: &'static CStr,
    name: &'static CStr,
    version: &'static CStr,
    table: &'static T,
) {
    // SAFETY: called from register_hooks with the configuration's pool; names and table are static, and
    // the table is of the type that group and version stand for.
    unsafe {
        ap_register_auth_provider(
            pool.as_ptr(),
            group.as_ptr(),
            name.as_ptr(),
            version.as_ptr(),
            (&raw const *table).cast(),
            AP_AUTH_INTERNAL_PER_CONF as c_int,
        );
    }
}

struct Tables<A>(PhantomData<A>);

impl<A: Authenticator> Tables<A> {
    const AUTHN: &'static authn_provider = &authn_provider {
        check_password: Some(check_password::<A>),
        get_realm_hash: Some(get_realm_hash::<A>),
    };
}

impl<A: Authorizer> Tables<A> {
    const AUTHZ: &'static authz_provider = &authz_provider {
        check_authorization: Some(check_authorization::<A>),
        parse_require_line: Some(parse_require_line::<A>),
    };
}

unsafe extern "C" fn check_password<A: Authenticator>(
    raw: *mut request_rec,
    user: *const c_char,
    password: *const c_char,
) -> authn_status::Type {
    guard(authn_status::AUTH_GENERAL_ERROR, || {
        // SAFETY: httpd lends a live request and two strings for the length of the call.
        let (mut request, user, password) =
            unsafe { (Request::from_raw(raw), bytes(user), bytes(password)) };
        let (user, password) = (user.unwrap_or_default(), password.unwrap_or_default());
        match A::check_password(&mut request, user, password) {
            Password::Right => authn_status::AUTH_GRANTED,
            Password::Wrong => authn_status::AUTH_DENIED,
            Password::UnknownUser => authn_status::AUTH_USER_NOT_FOUND,
            Password::Failed => authn_status::AUTH_GENERAL_ERROR,
        }
    })
}

unsafe extern "C" fn get_realm_hash<A: Authenticator>(
    raw: *mut request_rec,
    user: *const c_char,
    realm: *const c_char,
    hash: *mut *mut c_char,
) -> authn_status::Type {
    guard(authn_status::AUTH_GENERAL_ERROR, || {
        // SAFETY: httpd lends a live request and two strings for the length of the call.
        let (mut request, user, realm) =
            unsafe { (Request::from_raw(raw), bytes(user), bytes(realm)) };
        let (user, realm) = (user.unwrap_or_default(), realm.unwrap_or_default());
        match A::realm_hash(&mut request, user, realm) {
            RealmHash::Known(digits) => {
                // SAFETY: httpd's own place for it; the copy lives as long as the request.
                unsafe { *hash = request.pool().copy(&digits) };
                authn_status::AUTH_USER_FOUND
            }
            RealmHash::UnknownUser => authn_status::AUTH_USER_NOT_FOUND,
            RealmHash::Failed => authn_status::AUTH_GENERAL_ERROR,
        }
    })
}

unsafe extern "C" fn check_authorization<A: Authorizer>(
    raw: *mut request_rec,
    line: *const c_char,
    parsed: *const c_void,
) -> authz_status::Type {
    guard(authz_status::AUTHZ_DENIED, || {
        // SAFETY: httpd lends a live request and the line for the length of the call; what is parsed is
        // what `parse_require_line` made of it.
        let (mut request, line, parsed) =
            unsafe { (Request::from_raw(raw), bytes(line), parsed.cast::<A::Required>().as_ref()) };
        if request.user().is_none() {
            return authz_status::AUTHZ_DENIED_NO_USER;
        }
        let granted = match parsed {
            Some(required) => A::check(&mut request, required),
            // A provider alias of an older httpd does not parse beforehand.
            None => A::parse(line.unwrap_or_default())
                .is_ok_and(|required| A::check(&mut request, &required)),
        };
        if granted { authz_status::AUTHZ_GRANTED } else { authz_status::AUTHZ_DENIED }
    })
}

unsafe extern "C" fn parse_require_line<A: Authorizer>(
    parms: *mut cmd_parms,
    line: *const c_char,
    parsed: *mut *const c_void,
) -> *const c_char {
    guard(c"internal error in mod_wsgi_rs, see the lines above".as_ptr(), || {
        // SAFETY: httpd's own arguments; the pool lives as long as the section the line stands in.
        let (pool, line) = unsafe { (Pool::from_raw((*parms).pool), bytes(line)) };
        match A::parse(line.unwrap_or_default()) {
            Ok(required) => {
                // SAFETY: httpd's own place for it, which outlives the call; the value lives as long as the pool.
                unsafe { *parsed = (&raw const *pool.adopt(required)).cast() };
                std::ptr::null()
            }
            Err(why) => pool.copy(why.as_bytes()),
        }
    })
}
