package api

// errorCode documents a stable code. The page /docs/errors and docs/errors.md
// are made from these tables; a test fails on a code that is in use and not
// here, or here and not in use.
type errorCode struct {
	Code    string
	Status  int
	Meaning string
}

// errorCodes are the codes of whole problems, in alphabetical order.
var errorCodes = []errorCode{
	{"already_bootstrapped", 409, "There is an owner already."},
	{"api_key_disabled", 409, "The key is disabled. Enable it first, or make a new one."},
	{"api_key_expired", 409, "The key has expired. Extend it first, or make a new one."},
	{"api_key_not_found", 404, "No such API key, or not yours."},
	{"api_key_revoked", 409, "The key is revoked, for good."},
	{"api_key_rotated", 409, "The key was replaced by another: change that one, or revoke this one to end its grace."},
	{"audit_event_not_found", 404, "No such record of the audit log, or not yours."},
	{"body_required", 400, "The operation needs a JSON body."},
	{"body_timeout", 408, "The request body did not arrive in time."},
	{"body_too_large", 413, "The request body is larger than the operation takes: 1 MiB unless it states its own limit."},
	{"body_unreadable", 400, "The request body broke off on the way. Send it again."},
	{"credential_expired", 401, "The credential was good and has run out. Get a new one."},
	{"credential_invalid", 401, "The credential is unknown, expired, revoked or disabled. Which of these is in the server's log only."},
	{"credential_required", 401, "No credential, or not in the form Authorization: Bearer TOKEN."},
	{"cursor_malformed", 400, "The cursor was not made by this list. Use next_cursor as it is."},
	{"database_busy", 503, "The database did not answer in time. Nothing was done: try again after Retry-After."},
	{"database_unavailable", 503, "The database can't be reached. Try again after Retry-After."},
	{"email_taken", 409, "Another operator has this e-mail address."},
	{"grant_exceeds_own", 403, "Nobody gives, or manages who holds, a permission that he does not hold himself; detail names it."},
	{"idempotency_answer_lost", 409, "The first request with this key was carried out, but its answer is lost. Read the thing instead of making it again."},
	{"idempotency_in_progress", 409, "The first request with this key is still running. Try again after Retry-After."},
	{"idempotency_key_malformed", 400, "Idempotency-Key is 1 to 255 printable ASCII characters."},
	{"idempotency_key_reused", 422, "The key was used for another request. Use a fresh key for each."},
	{"identity_taken", 409, "The identity is linked to another operator."},
	{"if_match_malformed", 400, "If-Match takes one ETag in its quotes, or *."},
	{"internal", 500, "A defect of ours. The request_id finds it in the server's log."},
	{"invalid_request", 422, "Fields break a rule; errors says which."},
	{"invalid_text", 422, "Text that can't be stored: invalid UTF-8, or a NUL character. 400 when it is found before the fields are looked at."},
	{"ip_not_allowed", 403, "The API key has an allow-list that the address of the request is not on."},
	{"issuer_unavailable", 503, "The OIDC issuer can't be reached, so a JWT can't be checked. Other credentials work. Try again after Retry-After."},
	{"json_malformed", 400, "The body is not valid JSON."},
	{"last_owner", 409, "The last enabled owner can't be demoted, disabled or deleted. Make another operator owner first."},
	{"method_not_allowed", 405, "The path exists, but not with this method; Allow says which it takes."},
	{"name_taken", 409, "The name is taken by another thing of its kind."},
	{"not_acceptable", 406, "The server answers application/json."},
	{"operator_disabled", 409, "The operator is disabled."},
	{"operator_not_found", 404, "No such operator."},
	{"permission_denied", 403, "The credential lacks a permission; detail names it."},
	{"platform_only", 403, "Only the platform's own credentials may do this, not a tenant's."},
	{"project_archived", 409, "The project is archived."},
	{"rate_limited", 429, "The credential's rate limit is used up. Try again after Retry-After."},
	{"route_not_found", 404, "There is no such path."},
	{"service_disabled", 409, "The service account is disabled."},
	{"service_not_found", 404, "No such service account."},
	{"stale_version", 412, "The thing has changed since you read it. Read it again and repeat your change."},
	{"tenant_archived", 409, "The tenant is archived: only its audit log is kept. 403 when it is the credential's own tenant."},
	{"tenant_frozen", 409, "The tenant is frozen: it can be read but not changed until it is reactivated."},
	{"tenant_not_found", 404, "No such tenant, or not yours."},
	{"tenant_suspended", 409, "The tenant is suspended: only the platform's operators can change it. 403 when it is the credential's own tenant."},
	{"token_not_found", 404, "No such access token, or not yours."},
	{"unsupported_media_type", 415, "Send application/json (or application/merge-patch+json with PATCH)."},
}

// fieldCodes are the codes of single fields, in alphabetical order.
var fieldCodes = []errorCode{
	{"duplicate", 0, "A value stands more than once."},
	{"id_malformed", 0, "Neither an id of the wanted kind nor a UUID."},
	{"in_the_past", 0, "The time must lie in the future."},
	{"invalid", 0, "The value breaks a rule that the message names."},
	{"invalid_text", 0, "The text holds control characters, or bytes that are not UTF-8."},
	{"network_malformed", 0, "This is neither an address nor a network in CIDR form."},
	{"not_one_of", 0, "The value is not one of those allowed."},
	{"not_tenant_grantable", 0, "The permission concerns the whole platform: what is confined to a tenant can't hold it."},
	{"out_of_range", 0, "The number is too small or too large."},
	{"product_not_found", 0, "There is no such product."},
	{"project_not_found", 0, "The tenant has no such project."},
	{"required", 0, "The field is needed."},
	{"scope_malformed", 0, "A scope is words of a-z, 0-9, _ - . joined by colons, or noun:*."},
	{"scope_not_allowed", 0, "Scopes that begin with landlord: are for live keys of a whole tenant."},
	{"scope_not_found", 0, "The product declares no such scope, or landlord has no such permission for tenants."},
	{"too_few", 0, "Too few elements."},
	{"too_large", 0, "The value is too large as JSON."},
	{"too_long", 0, "The text is too long."},
	{"too_many", 0, "Too many elements."},
	{"too_short", 0, "The text is too short."},
	{"unknown_field", 0, "The operation has no such field."},
	{"unknown_parameter", 0, "The operation has no such query parameter."},
	{"wrong_format", 0, "The text has not the form that the message names."},
	{"wrong_type", 0, "The value has another JSON type than the field."},
}
