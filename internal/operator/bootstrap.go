package operator

import (
	"context"
	"strings"
	"time"

	"github.com/landlordhq/landlord/internal/access"
	"github.com/landlordhq/landlord/internal/audit"
	"github.com/landlordhq/landlord/internal/changefeed"
	"github.com/landlordhq/landlord/internal/fault"
	"github.com/landlordhq/landlord/internal/id"
	"github.com/landlordhq/landlord/internal/pg"
)

// BootstrapParams name the first owner.
type BootstrapParams struct {
	Email     string
	Name      string
	ExpiresAt *time.Time // of the token; nil: Limits.DefaultTTL from now
	// ForceRecover makes an owner although there is one, for a platform whose
	// owners have all lost their tokens. A person with this address is promoted
	// and enabled.
	ForceRecover bool
}

// Bootstrap makes the first owner and a token of his. Who can run it reaches the
// database, so it asks for no permission; it is not offered over the network.
func (s *Service) Bootstrap(ctx context.Context, p BootstrapParams) (Operator, Issued, error) {
	create := CreateParams{Email: p.Email, Name: p.Name, Role: access.Owner}
	if strings.TrimSpace(create.Name) == "" {
		create.Name = p.Email
	}
	if err := create.validate(); err != nil {
		return Operator{}, Issued{}, err
	}
	ctx = access.AsSystem(ctx, "bootstrap")
	o := Operator{ID: id.New[id.Operator](), Email: create.Email, Name: create.Name, Role: access.Owner}
	issue := IssueParams{OperatorID: o.ID, Name: "bootstrap", ExpiresAt: p.ExpiresAt}
	expires, err := issue.validate(s.now(), s.limits)
	if err != nil {
		return Operator{}, Issued{}, err
	}
	issued, err := s.mint(ctx, issue, expires)
	if err != nil {
		return Operator{}, Issued{}, err
	}
	err = s.db.AsOperator(ctx, func(tx pg.Tx) error {
		// Two that bootstrap at once: the second one finds the first one's owner.
		if err := lockBootstrap(ctx, tx); err != nil {
			return err
		}
		owners, err := lockOwners(ctx, tx)
		if err != nil {
			return err
		}
		if len(owners) > 0 && !p.ForceRecover {
			return fault.Conflict("already_bootstrapped", "There is an owner already. If all owners lost their tokens, run bootstrap with --recover.")
		}
		if o, err = upsertOwner(ctx, tx, o); err != nil {
			return err
		}
		issued.OperatorID = o.ID
		if issued.AccessToken, err = insertToken(ctx, tx, issued.AccessToken, s.keys.Digest(issued.Secret.Reveal())); err != nil {
			return err
		}
		if err := changefeed.Note(ctx, tx, changefeed.Change{Kind: kindOperator, ID: o.ID.UUID()}); err != nil {
			return err
		}
		return audit.Record(ctx, tx, audit.Event{
			Action: "operator.bootstrapped", CRUD: "c",
			Target:   audit.Target{Type: "operator", ID: o.ID.String(), Name: o.Name},
			Metadata: map[string]any{"email": o.Email, "token_id": issued.ID, "recovered": len(owners) > 0},
		})
	})
	if err != nil {
		return Operator{}, Issued{}, err
	}
	return o, issued, nil
}

// Bootstrapped reports whether there is an enabled owner.
func (s *Service) Bootstrapped(ctx context.Context) (bool, error) {
	var owners []id.Operator
	err := s.db.ReadOperator(ctx, func(tx pg.Tx) (err error) {
		owners, err = enabledOwners(ctx, tx)
		return err
	})
	return len(owners) > 0, err
}
