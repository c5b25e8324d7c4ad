package outbox

import (
	"net/http"
	"strconv"

	"github.com/belay-hooks/belay/internal/rest"
	"github.com/belay-hooks/belay/pkg/event"
)

// access is what a key's holder may do, each including those before it.
type access int

const (
	accessRead     access = iota // see what the tenant has
	accessWrite                  // change it, and notify
	accessOperator               // besides: keys, event types, private filters, other tenants
)

// caller is who calls the API.
type caller struct {
	tenant string
	access access
	key    string // the id of the key, for the record of changes
}

// may refuses what the caller's key is not for.
func (c caller) may(need access) error {
	switch {
	case c.access >= need:
		return nil
	case need == accessOperator:
		return rest.NewProblem(http.StatusForbidden, "this wants the operator's key: one of BELAY_API_KEYS that names no tenant")
	}
	return rest.NewProblem(http.StatusForbidden, "the API key is for reading only")
}

// tenantHeader names the tenant that an operator's call is for; without it that is
// the default one. For a notification * stands for all.
const (
	tenantHeader = "Belay-Tenant"
	everyTenant  = "*"
)

// caller finds out who makes a request: by a key of the environment, which is the
// operator's where it names no tenant, or by one of the bucket.
func (a *api) caller(r *http.Request) (caller, error) {
	keys := *a.keys.Load()
	if len(keys) == 0 && a.ring.size() == 0 {
		return caller{}, rest.Unauthorized("no API key is configured: set BELAY_API_KEYS to a comma list of key or tenant=key")
	}
	text, err := rest.Bearer(r)
	if err != nil {
		return caller{}, err
	}
	who := caller{access: accessWrite}
	if found, ok := keys.Find(text); ok {
		who.tenant, who.key = found.Owner, "BELAY_API_KEYS:"+strconv.Itoa(found.Place)
		if found.Bare {
			who.access = accessOperator
		}
	} else if key, ok := a.ring.find(text); ok {
		who.tenant, who.key = key.Tenant, key.ID
		if key.Access != "write" {
			who.access = accessRead
		}
	} else {
		return caller{}, rest.Unauthorized("the API key is not known")
	}
	tenant := r.Header.Get(tenantHeader)
	if tenant == everyTenant && r.URL.Path == notificationsPath && who.access == accessOperator {
		who.tenant = event.AllTenants
		return who, nil
	}
	return who.in(tenant)
}

// in is the caller for the tenant that a request names.
func (c caller) in(tenant string) (caller, error) {
	switch {
	case tenant == "" || tenant == c.tenant:
		return c, nil
	case c.access != accessOperator:
		return caller{}, rest.NewProblem(http.StatusForbidden, "the API key is another tenant's")
	case !rest.ValidName(tenant):
		return caller{}, rest.Invalid(rest.FieldProblem{Header: tenantHeader, Detail: "want the name of a tenant: up to 64 letters, digits, - and _"})
	}
	c.tenant = tenant
	return c, nil
}
