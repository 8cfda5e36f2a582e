package graph

// Types are the element types of the tensors of the main graph, as far as its operators tell them: those of functions
// and of control flow are left out.
func (m *Model) Types() map[string]string {
	types := map[string]string{}
	for _, v := range m.Inputs() {
		types[v.Name] = v.Type
	}
	for _, t := range m.proto.Graph.Initializer {
		types[t.GetName()] = TypeOf(t)
	}
	for _, n := range m.proto.Graph.Node {
		if elem := elemOf(n, types); elem != "" && m.Function(n) == nil {
			for _, o := range n.Output[:1] { // others may be places or masks
				types[o] = elem
			}
		}
	}
	return types
}

// elemOf is the element type of what a node gives first.
func elemOf(n *Node, types map[string]string) string {
	switch op := n.GetOpType(); op {
	case "Cast":
		return CastTo(n)
	case "Shape", "Size", "NonZero", "ArgMax", "ArgMin":
		return "int64"
	case "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "And", "Or", "Xor", "IsNaN", "IsInf":
		return "bool"
	case "Where", "DequantizeLinear":
		return types[Input(n, 1)]
	case "If", "Loop", "Scan", "OneHot", "CastLike", "QuantizeLinear", "DynamicQuantizeLinear":
		return ""
	case "Constant", "ConstantOfShape":
		if value := Attr(n, "value").GetT(); value != nil {
			return TypeOf(value)
		} else if op == "ConstantOfShape" {
			return "float32"
		}
		return ""
	}
	return types[Input(n, 0)]
}
