package cluster
import "testing"
func TestZZ(t *testing.T){ p,err:=Tool(t.Context(),"helm",t.Output()); t.Log(p,err) }
